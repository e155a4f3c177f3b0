"""Rows of a stored head are those of the labels they are named for, in whatever order data have."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoint_folders import BASE, add_tokenizer, configure, load, rewrite
from parity_cases import CASES, LABELS, NAMES, checkpoint, write_folder
from safetensors.numpy import load_file, save_file

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.models.heads import rows_of

OTHER = ("label2", "label0", "label1")
ORDER = [2, 0, 1]
FORMS = ["base", "minilm", "tokens"]
GENERIC = {str(row): f"LABEL_{row}" for row in range(LABELS)}


def beside(folder):
    """The head in a file of its own, as exports of a linear head have it."""
    head = {}

    def move(tensors):
        for name in [name for name in tensors if name.startswith("classifier.")]:
            head[name] = tensors.pop(name)

    rewrite(folder, move)
    save_file(head, folder / "head.safetensors")


def head_of(folder, case=BASE, **options):
    return load(folder, case, **options).params["head"]


def refused(folder, labels=NAMES):
    """What is said, from the headers of the files alone, too."""
    with pytest.raises(UserError) as caught:
        load(folder, labels=labels)
    with pytest.raises(UserError) as checked:
        checkpoints.check(folder, head=BASE.head, labels=labels)
    assert str(checked.value) == str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("form", "apart"), [*((form, False) for form in FORMS), ("minilm", True)])
def test_rows_are_put_into_the_order_of_the_data(form, apart, tmp_path):
    case = CASES[form]
    folder = add_tokenizer(write_folder(case, tmp_path))
    if apart:
        beside(folder)
    plain, moved = load(folder, case), load(folder, case, labels=OTHER)
    name = "classifier.out_proj" if case.head == "dense-tanh-out" else "classifier"
    weight, bias = (checkpoint(case)[f"{name}.{part}"] for part in ("weight", "bias"))
    for loaded, order in ((plain, [0, 1, 2]), (moved, ORDER)):
        np.testing.assert_array_equal(loaded.params["head"]["out"]["kernel"], weight[order].T)
        np.testing.assert_array_equal(loaded.params["head"]["out"]["bias"], bias[order])
    assert plain.notes == []
    assert moved.notes == ["rows of the head put into the order of the data's labels"]
    if "dense" in plain.params["head"]:
        np.testing.assert_array_equal(
            plain.params["head"]["dense"]["kernel"], moved.params["head"]["dense"]["kernel"]
        )


@pytest.mark.parametrize("case", [CASES[form] for form in FORMS], ids=FORMS)
def test_an_export_names_the_rows_as_they_are(case, tmp_path):
    """Read in another order, written, and read in the first one again."""
    source = add_tokenizer(write_folder(case, tmp_path / "source"))
    moved = load(source, case, labels=OTHER)
    out = tmp_path / "out"
    checkpoints.save(out, moved.params, moved.config, head=case.head, labels=OTHER, source=source)
    assert json.loads((out / "config.json").read_text())["id2label"] == dict(
        zip("012", OTHER, strict=True)
    )
    again, first = head_of(out, case), head_of(source, case)
    for part in ("kernel", "bias"):
        np.testing.assert_array_equal(again["out"][part], first["out"][part])


def test_seeds_share_the_rows(folder):
    moved = load(folder, labels=OTHER)
    other = checkpoints.with_seed(moved, head=BASE.head, seed=5)
    assert other.params["head"]["out"]["kernel"] is moved.params["head"]["out"]["kernel"]


def test_other_names_show_both_lists(folder):
    says = refused(folder, labels=("lamp", "door", "window"))
    assert f"{folder}/config.json: " in says
    assert "label0, label1, label2" in says
    assert "lamp, door, window" in says
    assert "model.new_head=true" in says
    assert "labels.json" in refused(folder, labels=NAMES[:2])
    assert "head has 3 labels" in refused(folder, labels=[f"label{row}" for row in range(7)])


def test_of_many_names_those_that_differ_are_shown():
    names = [f"intent{row}" for row in range(40)]
    config = {"id2label": dict(enumerate(names))}
    labels = [*names[:-1], "another"]
    with pytest.raises(UserError) as caught:
        rows_of(labels, config=config, path=Path("config.json"), rows=40)
    says = str(caught.value)
    assert "40 labels (among them intent39)" in says
    assert "40 (among them another)" in says
    assert "intent7" not in says


@pytest.mark.parametrize("names", [GENERIC, None], ids=["generic", "absent"])
def test_rows_that_nobody_named(folder, names):
    configure(folder, id2label=names)
    says = refused(folder)
    assert "LABEL_0, LABEL_1, LABEL_2" in says
    assert "nothing says which is which" in says
    assert "id2label" in says
    numbers = load(folder, labels=("0", "1", "2"))
    weight = checkpoint(BASE)["classifier.out_proj.weight"]
    np.testing.assert_array_equal(numbers.params["head"]["out"]["kernel"], weight.T)
    assert "head has 3 labels" in refused(folder, labels=("0", "1"))
    own = head_of(folder, labels=[f"LABEL_{row}" for row in ORDER])
    np.testing.assert_array_equal(own["out"]["kernel"], weight[ORDER].T)


def test_numbers_are_taken_as_the_named_rows_and_that_is_said(folder):
    numbers = load(folder, labels=("0", "1", "2"))
    np.testing.assert_array_equal(
        numbers.params["head"]["out"]["kernel"], head_of(folder)["out"]["kernel"]
    )
    (note,) = numbers.notes
    assert "0 is label0, 1 is label1, 2 is label2" in note
    configure(folder, id2label={"0": "2", "1": "0", "2": "1"})  # names that are numbers, too
    moved = head_of(folder, labels=("0", "1", "2"))
    weight = checkpoint(BASE)["classifier.out_proj.weight"]
    np.testing.assert_array_equal(moved["out"]["kernel"], weight[[1, 2, 0]].T)


def test_names_in_one_of_the_two_maps(folder):
    """transformers leaves the other as it makes it by itself."""
    generic = {name: row for row, name in enumerate(GENERIC.values())}
    named = {name: row for row, name in enumerate(NAMES)}
    expected = head_of(folder, labels=OTHER)["out"]["kernel"]
    for fields in (
        {"label2id": generic},
        {"id2label": GENERIC, "label2id": named},
        {"id2label": None, "label2id": named},
        {"id2label": dict(enumerate(NAMES)), "label2id": named},
    ):
        configure(folder, **{"id2label": dict(enumerate(NAMES)), **fields})
        np.testing.assert_array_equal(head_of(folder, labels=OTHER)["out"]["kernel"], expected)


MALFORMED = {
    "a list": ({"id2label": list(NAMES)}, "does not map rows"),
    "no row": ({"id2label": {"first": "a", "second": "b", "third": "c"}}, "does not map rows"),
    "a row missing": ({"id2label": {"0": "a", "2": "c", "3": "d"}}, "every row from 0 on once"),
    "a row twice": ({"id2label": {"0": "a", "00": "b", "1": "c"}}, "every row from 0 on once"),
    "a name twice": ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "a label name twice"),
    "no name": ({"id2label": {"0": "a", "1": ["b"], "2": "c"}}, "every row from 0 on once"),
    "too few": ({"id2label": {"0": "a", "1": "b"}}, "id2label names 2 labels"),
    "contradiction": (
        {"label2id": {"label0": 1, "label1": 0, "label2": 2}},
        "id2label and label2id contradict",
    ),
}


@pytest.mark.parametrize(("fields", "says"), MALFORMED.values(), ids=MALFORMED)
def test_names_that_cannot_be_right(folder, fields, says):
    configure(folder, **fields)
    found = refused(folder)
    assert says in found
    assert f"{folder}/config.json" in found


def test_a_new_head_leaves_the_old_one_out(folder):
    configure(folder, id2label={"0": "a", "2": "c"})  # of no interest then
    labels = [f"new{row}" for row in range(7)]
    fresh = load(folder, labels=labels, new_head=True, seed=3)
    old = [name for name in checkpoint(BASE) if name.startswith("classifier.")]
    assert sorted(fresh.skipped) == sorted(fresh.initialised) == sorted(old)
    assert fresh.params["head"]["out"]["kernel"].shape == (BASE.hidden_size, 7)
    assert fresh.params["head"]["dense"]["kernel"].std() == pytest.approx(0.02, rel=0.1)
    other = checkpoints.with_seed(fresh, head=BASE.head, seed=4).params["head"]
    assert (other["out"]["kernel"] != fresh.params["head"]["out"]["kernel"]).all()


@pytest.mark.parametrize("case", [CASES[form] for form in FORMS], ids=FORMS)
def test_a_new_head_of_another_form(case, tmp_path):
    folder = add_tokenizer(write_folder(case, tmp_path))
    answers = np.zeros((2, case.hidden_size), np.float32)
    rewrite(folder, lambda tensors: tensors.update({"qa_outputs.weight": answers}))
    for form in ("dense-tanh-out", "linear", "token"):
        asked = {"head": form, "labels": ("a", "b"), "seed": 0}
        with pytest.raises(UserError, match=r"another classification head.*model\.new_head=true"):
            checkpoints.load(folder, **asked)
        fresh = checkpoints.load(folder, **asked, new_head=True)
        assert fresh.params["head"]["out"]["kernel"].shape == (case.hidden_size, 2)
        assert "qa_outputs.weight" in fresh.skipped


def test_a_head_over_words_is_none_over_texts(tmp_path):
    """Both are one layer of the same name."""
    words = add_tokenizer(write_folder(CASES["tokens"], tmp_path / "words"))
    configure(words, architectures=["XLMRobertaForTokenClassification"])
    with pytest.raises(UserError, match=r"head labels words and the task texts.*new_head"):
        checkpoints.load(words, head="linear", labels=NAMES, seed=0)
    texts = add_tokenizer(write_folder(CASES["minilm"], tmp_path / "texts"))
    beside(texts)
    with pytest.raises(UserError, match=r"head labels texts and the task words.*new_head"):
        checkpoints.load(texts, head="token", labels=NAMES, seed=0)
    checkpoints.load(words, head="token", labels=NAMES, seed=0)
    checkpoints.load(texts, head="linear", labels=NAMES, seed=0)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_a_head_for_another_kind_of_answer(folder, problem):
    configure(folder, problem_type=problem)
    assert repr(problem) in refused(folder)
    load(folder, new_head=True)
    configure(folder, problem_type="single_label_classification")
    load(folder)


def test_a_stray_head_file_is_not_taken_for_the_head(folder, tmp_path):
    """Of an earlier export, beside a checkpoint that has a head itself."""
    other = load_file(write_folder(CASES["minilm"], tmp_path / "other") / "model.safetensors")
    stray = {name: value for name, value in other.items() if name.startswith("classifier.")}
    save_file(stray, folder / "head.safetensors")
    assert "another classification head" in refused(folder)
