import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny
import xglue_tree
from devices import on_eight

from alignreg_jax.config import (
    EvalConfig,
    ExperimentConfig,
    MeshConfig,
    ModelConfig,
    PruningConfig,
    TaskConfig,
    TrainConfig,
)
from alignreg_jax.config.fields import DistillConfig
from alignreg_jax.errors import UserError, lines_of
from alignreg_jax.models import checkpoints
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import check_inputs, identify, load_inputs
from alignreg_jax.run.rows import load_data


@pytest.fixture(scope="module")
def world(mixed_world):
    return mixed_world


@pytest.fixture
def config(world):
    return ExperimentConfig(
        model=ModelConfig(name_or_path=str(world.encoder)),
        task=TaskConfig(name="folder", source="folder", data_dir=str(world.data)),
        train=TrainConfig(batch_size=8),
        pruning=PruningConfig(steps=2, first_epochs=15, scope="layer"),
        eval=EvalConfig(batch_size=8),
    )


@pytest.fixture
def numbered(config):
    """Pieces keep the tokenizer's numbers, to be compared between data sets."""
    return replace(config, model=replace(config.model, active_vocabulary=False))


def rows(inputs):
    return {key: encoded.rows for key, encoded in inputs.evaluation.items()}


def texts(encoded):
    ends = zip(encoded.offsets, encoded.lengths, strict=True)
    return [encoded.ids[start : start + length].tolist() for start, length in ends]


def test_mistakes_in_text_without_labels_are_told_with_those_in_rows(config, world, tmp_path):
    data = tiny.copy(world.data, tmp_path / "data")
    (data / "es.unlabelled.txt").write_text("")
    (data / "SW.unlabelled.txt").write_text("sw1")
    (data / "fr.unlabelled.jsonl").write_text('{"txt": "a"}\n')
    with (data / "sw.test.jsonl").open("a") as file:
        file.write("{\n")
    task = replace(config.task, data_dir=str(data))
    with pytest.raises(UserError) as caught:
        load_data(replace(config, task=task, distill=DistillConfig(text="data")), Cache())
    assert [
        line.removeprefix(f"{data}/").partition(" (")[0] for line in lines_of(caught.value)
    ] == [
        f"sw.test.jsonl:{tiny.ROWS['test'] + 1}: not JSON",
        "SW.unlabelled.txt: the language is there twice, as SW and, in sw.dev.jsonl, as sw",
        "es.unlabelled.txt:1: the file has no rows",
        "fr.unlabelled.jsonl:1: the field text is missing",
    ]


def test_everything(config):
    inputs = load_inputs(config)
    assert inputs.dataset.labels == tiny.LABELS
    assert inputs.train.rows == tiny.ROWS["train"]
    assert rows(inputs) == {
        (split, language): tiny.ROWS[split]
        for split in ("test", "dev")
        for language in tiny.LANGUAGES
    }
    assert next(iter(inputs.evaluation)) == ("test", "en")
    assert inputs.max_length == tiny.POSITIONS - 2
    assert inputs.encoder.params["head"]["out"]["kernel"].shape == (tiny.HIDDEN, 3)


def test_digests_are_of_all_that_is_read(config, world, tmp_path):
    found = load_inputs(config).digests
    splits = {f"{language}.{split}" for language in tiny.LANGUAGES for split in ("dev", "test")}
    assert set(found["rows"]) == {"en.train", *splits}
    assert len(set(found["rows"].values())) == 7
    assert (found["max_length"], found["head"]) == (38, None)  # a new head is the seed's
    assert found == load_inputs(replace(config, seed=1)).digests
    assert found == identify(config, Cache()) | {"active_pieces": found["active_pieces"]}
    whole = replace(config, model=replace(config.model, active_vocabulary=False))
    assert load_inputs(whole).digests == found | {"active_pieces": None}
    shorter = load_inputs(replace(config, task=replace(config.task, max_length=8))).digests
    assert shorter == found | {"max_length": 8, "active_pieces": shorter["active_pieces"]}
    some = load_inputs(replace(config, eval=EvalConfig(languages=("de",), batch_size=8))).digests
    assert set(some["rows"]) == {"en.train", "de.dev", "de.test"}
    assert some["active_pieces"] != found["active_pieces"]


@pytest.mark.parametrize("head", ["dense-tanh-out", "linear"])
def test_a_head_that_the_encoder_brings_is_known_by_its_digest(config, world, tmp_path, head):
    heads = []
    for seed in (0, 1):
        loaded = checkpoints.load(world.encoder, head=head, labels=tiny.LABELS, seed=seed)
        folder = tmp_path / str(seed)
        checkpoints.save(folder, loaded.params, loaded.config, head=head, labels=tiny.LABELS,
                         source=world.encoder)  # fmt: skip
        with_head = replace(config.model, name_or_path=str(folder), head=head)
        heads.append(identify(replace(config, model=with_head), Cache()))
    ours, other = heads
    assert ours["head"] != other["head"]
    assert ours | {"head": None} == other | {"head": None}
    assert ours["encoder"] == identify(config, Cache())["encoder"]  # with a head or without


def test_languages_of_any_phase_are_read_and_no_others(config):
    chosen = EvalConfig(languages=("en",), every_phase_languages=("de",), batch_size=8)
    languages = {language for _, language in load_inputs(replace(config, eval=chosen)).evaluation}
    assert languages == {"en", "de"}
    chosen = EvalConfig(every_phase_languages=("de",), batch_size=8)
    languages = {language for _, language in load_inputs(replace(config, eval=chosen)).evaluation}
    assert languages == set(tiny.LANGUAGES)


def test_some_rows_only(numbered):
    chosen = EvalConfig(examples=4, splits=("test",), batch_size=8)
    task = replace(numbered.task, train_examples=11)
    inputs = load_inputs(replace(numbered, eval=chosen, task=task))
    assert inputs.train.rows == 11
    assert rows(inputs) == {("test", language): 4 for language in tiny.LANGUAGES}
    whole = load_inputs(numbered)
    drawn = [row for row in texts(whole.train) if row in texts(inputs.train)]
    assert texts(inputs.train) == drawn != texts(whole.train)[:11]
    assert inputs.dataset.notes == whole.dataset.notes[1:]  # one is on dev, which is not read


def test_max_length_cuts(config):
    inputs = load_inputs(replace(config, task=replace(config.task, max_length=8)))
    assert inputs.train.lengths.max() == inputs.max_length == 8


@pytest.mark.parametrize(
    ("section", "changes", "says"),
    [
        ("task", {"max_length": tiny.POSITIONS - 1}, r"task\.max_length=39.* 38 pieces"),
        ("task", {"name": "xquad"}, r"task\.name='xquad'"),
        ("task", {"data_dir": None}, r"task\.data_dir"),
        ("task", {"data_dir": "~nosuchuser/x"}, r"^task\.data_dir=~nosuchuser/x: no such folder"),
        ("model", {"name_or_path": "~nosuchuser/x"}, r"^model\.name_or_path=~nosuchuser/x: no"),
        ("eval", {"languages": ("fi",)}, r"eval\.languages: no data for 'fi'; there is de, en, sw"),
        ("eval", {"every_phase_languages": ("fi",)}, r"eval\.every_phase_languages.*'fi'"),
        on_eight("train", {"accumulation": 4}, r"train\.batch_size / train\.accumulation=2"),
        on_eight("eval", {"batch_size": 12}, r"eval\.batch_size=12"),
        ("pruning", {"final": 1.5}, r"pruning\.final=1\.5"),
    ],
)
def test_errors_come_before_anything_is_said(config, capsys, caplog, section, changes, says):
    """A long tokenisation is not worth starting when the batch does not divide."""
    caplog.set_level("INFO")
    wrong = replace(config, **{section: replace(getattr(config, section), **changes)})
    with pytest.raises(UserError, match=says):
        load_inputs(wrong)
    assert capsys.readouterr().err == ""
    assert caplog.text == ""


@pytest.fixture
def tagged(numbered, tmp_path):
    """A folder of words and tags; the words are the tokenizer's."""
    for language, words in (("en", "en0 en1"), ("de", "de0 de1 de2"), ("sw", "sw0")):
        row = {"tokens": words.split(), "tags": ["B-X", "O", "I-X"][: len(words.split())]}
        for split in ("train", "dev", "test") if language == "en" else ("test",):
            (tmp_path / f"{language}.{split}.jsonl").write_text(3 * (json.dumps(row) + "\n"))
    task = TaskConfig(name="tokens", source="folder", data_dir=str(tmp_path))
    return replace(numbered, task=task)


def test_words(tagged):
    inputs = load_inputs(tagged)
    assert inputs.head == "token"
    assert inputs.dataset.labels == ("O", "B-X", "I-X")
    assert inputs.train.labels.tolist() == 3 * [-1, 1, 0, -1]
    assert inputs.evaluation["test", "de"].labels.tolist() == 3 * [-1, 1, 0, 2, -1]
    assert inputs.gold["test", "de"].rows == 3
    assert inputs.encoder.params["head"]["out"]["kernel"].shape == (tiny.HIDDEN, 3)


def test_some_sentences_only(tagged):
    chosen = EvalConfig(examples=2, batch_size=8)
    task = replace(tagged.task, train_examples=1)
    inputs = load_inputs(replace(tagged, eval=chosen, task=task))
    assert inputs.train.labels.tolist() == [-1, 1, 0, -1]
    assert inputs.gold["test", "de"].labels.tolist() == 2 * [1, 0, 2]
    assert inputs.evaluation["test", "de"].word_count == 6


def test_the_mark_of_a_space_is_stripped_in_the_languages_named(tagged):
    plain = load_inputs(tagged)
    for languages in (("de",), ("en", "sw")):
        task = replace(tagged.task, strip_space_marker=languages)
        inputs = load_inputs(replace(tagged, task=task))
        found = {
            language: not np.array_equal(encoded.ids, plain.evaluation["test", language].ids)
            for (split, language), encoded in inputs.evaluation.items()
            if split == "test"
        }
        assert found == {language: language in languages for language in tiny.LANGUAGES}
        assert np.array_equal(inputs.train.ids, plain.train.ids) == ("en" not in languages)


def test_unlabelled_test_files(config, tmp_path, caplog):
    """Noted where other languages have labels; an error where none has."""
    caplog.set_level("INFO")
    root = xglue_tree.write(tmp_path, "QAM")
    task = TaskConfig(name="qam", source="folder", data_dir=str(root))
    for language in ("de", "fr", "en"):
        path = root / "QAM" / f"xglue.qam.{language}.test"
        path.write_text("a question\tan answer\nanother\t\n")
        if language != "en":
            inputs = load_inputs(replace(config, task=task))
            assert ("test", language) not in inputs.evaluation
            assert ("dev", language) in inputs.evaluation
            assert f"{path} has no labels, so {language} is not evaluated on it" in caplog.text
    for splits in (("test",), ("dev", "test")):
        chosen = replace(config.eval, splits=splits)
        with pytest.raises(UserError, match=r"^eval\.splits=.* the test files of en, de, fr have"):
            load_inputs(replace(config, task=task, eval=chosen))
    chosen = replace(config.eval, splits=("dev",))
    inputs = load_inputs(replace(config, task=task, eval=chosen))
    assert set(inputs.evaluation) == {("dev", language) for language in ("en", "de", "fr")}


def test_only_the_splits_that_are_evaluated_are_read_and_required(config, world, tmp_path):
    data = tiny.copy(world.data, tmp_path / "data")
    task = replace(config.task, data_dir=str(data))
    (data / "en.dev.jsonl").unlink()
    (data / "sw.dev.jsonl").write_text("not JSON")
    chosen = replace(config.eval, splits=("test",))
    read = load_data(replace(config, task=task, eval=chosen), Cache())
    assert set(read.evaluation) == {("test", language) for language in tiny.LANGUAGES}
    assert not any("dev" in note for note in read.dataset.notes)
    assert read.dataset.languages == tiny.LANGUAGES
    for splits in (("dev",), ("dev", "test")):
        chosen = replace(config.eval, splits=splits)
        with pytest.raises(UserError, match=r"en\.dev\.jsonl: missing.*unless eval\.splits=test"):
            load_data(replace(config, task=task, eval=chosen), Cache())
    for split in ("dev", "test"):
        for language in ("de", "sw"):
            (data / f"{language}.{split}.jsonl").unlink()
    (data / "en.test.jsonl").rename(data / "en.dev.jsonl")
    chosen = replace(config.eval, splits=("dev",))
    read = load_data(replace(config, task=task, eval=chosen), Cache())
    assert read.dataset.languages == ("en",)
    assert set(read.evaluation) == {("dev", "en")}


def test_what_is_odd_is_told_and_used(config, world, tmp_path, caplog):
    caplog.set_level("INFO")
    data = tiny.copy(world.data, tmp_path / "data")
    shutil.copy(data / "en.test.jsonl", data / "de.test.jsonl")
    with (data / "en.test.jsonl").open("a") as file:
        file.writelines((data / "en.train.jsonl").read_text().splitlines(keepends=True)[:2])
    task = replace(config.task, data_dir=str(data))
    inputs = load_inputs(replace(config, task=task))
    assert inputs.evaluation["test", "en"].rows == tiny.ROWS["test"] + 2
    # One of them is so without our doing
    assert f"3 of the 20 rows of {data}/en.test.jsonl are in {data}/en.train.jsonl" in caplog.text
    assert f"18 of the 18 rows of {data}/de.test.jsonl have English's texts" in caplog.text


@pytest.mark.parametrize("split", ["dev", "test"])
def test_rows_that_cannot_be_scored_are_told_before_they_are_encoded(config, tmp_path, split):
    root = xglue_tree.write(tmp_path, "WPR")
    for path in (root / "WPR").glob("*.*.*.*"):
        path.write_text("query\ta\tb\t3\nquery\tc\td\t0\n")
    task = TaskConfig(name="wpr", source="folder", data_dir=str(root))
    wpr = replace(config, task=task)
    load_data(wpr, Cache())
    path = root / "WPR" / f"xglue.wpr.fr.{split}"
    path.write_text("query\ta\tb\t3\nanother\tc\td\t0\n")
    says = rf"^{path} \(fr\): metric ndcg: no query has two rows or more, in 2 rows$"
    with pytest.raises(UserError, match=says):
        load_data(wpr, Cache())
    other = {"dev": "test", "test": "dev"}[split]
    load_data(replace(wpr, eval=replace(config.eval, splits=(other,))), Cache())


@pytest.mark.sharded
def test_mesh_must_use_every_device(config):
    assert load_inputs(config).mesh.shape == {"data": 8, "fsdp": 1, "tensor": 1}
    with pytest.raises(UserError, match="8 devices"):
        load_inputs(replace(config, mesh=MeshConfig(data=3)))


def test_no_data_of_the_wanted_split(config, world, tmp_path):
    data = tiny.copy(world.data, tmp_path / "data")
    for path in data.glob("*.test.jsonl"):
        if not path.name.startswith("sw"):
            path.unlink()
    task = replace(config.task, data_dir=str(data))
    only = EvalConfig(languages=("de",), splits=("test",), batch_size=8)
    with pytest.raises(UserError, match=r"eval\.splits"):
        load_inputs(replace(config, task=task, eval=only))


@pytest.mark.parametrize(
    ("regularizer", "weight_decay", "freeze", "whole"),
    [
        ("l2sp", 0.01, (), True),  # Adam moves unused rows: decay from, the penalty to their start
        ("l2sp", 0.0, (), False),
        ("l2sp", 0.01, ("embeddings",), False),
        ("frobenius", 0.01, (), False),
    ],
)
def test_rows_without_pieces_are_kept_where_they_would_move(
    config, regularizer, weight_decay, freeze, whole
):
    train = replace(config.train, weight_decay=weight_decay, freeze=freeze)
    penalty = replace(config.regularizer, name=regularizer)
    inputs = load_inputs(replace(config, train=train, regularizer=penalty))
    assert (inputs.vocabulary is None) == whole
    assert (inputs.absent_parameters == 0) == whole


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train": {"freeze": ("head",)}}, "train.freeze=head"),
        ({"train": {"learning_rate": 0.0}}, "train.learning_rate=0"),
        ({"pruning": {"first_epochs": 0, "epochs_per_step": 0}}, "pruning.first_epochs=0 and no"),
        ({"pruning": {"first_epochs": 0, "steps": 0}}, "pruning.first_epochs=0 and no"),
    ],
)
def test_a_new_head_that_nothing_trains_is_refused(config, changes, why):
    """Its scores would be those of chance, under the encoder's name."""
    for section, values in changes.items():
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    with pytest.raises(UserError, match=why):
        load_inputs(config)


def test_a_new_head_that_is_trained_after_the_cut_only_is_told(config, caplog):
    caplog.set_level("INFO")
    load_inputs(replace(config, pruning=replace(config.pruning, first_epochs=0)))
    assert "a head never trained" in caplog.text


def test_a_language_whose_words_the_tokenizer_lacks_is_told(config, world, tmp_path, caplog):
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    rows = [{"text": "語 語 語", "label": tiny.LABELS[index % 3]} for index in range(6)]
    (data / "ja.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    caplog.set_level("INFO")
    load_inputs(replace(config, task=replace(config.task, data_dir=str(data))))
    (line,) = [line for line in caplog.messages if "does not know" in line]
    assert "ja.test" in line
    assert "de.test" not in line


def test_special_pieces_are_numbered_alike_in_both_files(config, world, tmp_path):
    encoder = tiny.copy(world.encoder, tmp_path / "encoder")
    own = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**own, "pad_token_id": 0}))
    other = replace(config, model=replace(config.model, name_or_path=str(encoder)))
    for check in (lambda: load_inputs(other), lambda: check_inputs(other, Cache())):
        with pytest.raises(UserError, match=r"tokenizer\.json: <pad> is piece 1, and pad_token_id"):
            check()
