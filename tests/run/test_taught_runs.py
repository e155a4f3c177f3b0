"""Whole runs with a teacher, with text that has no labels, and with masks that are learned."""

import json
import shutil
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file
from tiny import configured

from alignreg_jax.compress import served
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.run import assembly, launch
from alignreg_jax.run.batches import Batches
from alignreg_jax.run.dense import DensePhases, dense_key
from alignreg_jax.run.experiment import Experiment
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.run.shared import Shared
from alignreg_jax.training.trainer import Trainer

TEXT = ("--config.distill.teacher=dense", "--config.distill.text=data")
RUNS = {
    "smp-s": ("--config.method=smp-s", "--config.pruning.mask_every=2", *TEXT),
    "movement": (
        "--config.method=movement",
        "--config.pruning.start=dense",
        "--config.distill.hidden=0.1",
        *TEXT,
    ),
}


class Killed(Exception):
    """What a kill is in this process."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The tiny world with unlabelled text in two languages, one row of it from the test set."""
    world = tiny.build(tmp_path_factory.mktemp("told") / "world")
    for language in ("de", "sw"):
        seen = (world.data / f"{language}.test.jsonl").read_text().splitlines()[0]
        rows = [json.dumps({"text": f"{language}{i} {language}{(7 * i) % 20}"}) for i in range(12)]
        (world.data / f"{language}.unlabelled.jsonl").write_text("\n".join([*rows, seen]) + "\n")
    return world


def run(config, folder):
    (results,) = launch.run(config, {0: folder}, "the command", time.monotonic())
    return results


@pytest.fixture(scope="module")
def made(told, tmp_path_factory):
    """Name of a run -> its configuration and folder; each is made once."""

    @cache
    def make(name):
        config, folder = configured(told, *RUNS[name]), tmp_path_factory.mktemp(name) / "run"
        run(config, folder)
        return config, folder

    return make


@pytest.fixture(params=RUNS)
def done(request, made):
    return request.param, *made(request.param)


def test_a_run_that_is_killed_ends_with_the_same_bits(done, tmp_path, monkeypatch):
    _, config, folder = done
    dispatch, calls = Trainer.dispatch, []

    def killing(trainer, *given, **named):
        calls.append(trainer.step)
        if len(calls) == 11:
            raise Killed
        return dispatch(trainer, *given, **named)

    monkeypatch.setattr(Trainer, "dispatch", killing)
    with pytest.raises(Killed):
        run(config, tmp_path / "run")
    run(config, tmp_path / "run")
    assert len(calls) > 11
    assert tiny.outcome(tmp_path / "run") == tiny.outcome(folder)


def test_masks_have_the_counts_of_the_schedule(done):
    name, config, folder = done
    with np.load(folder / "masks.npz") as file:
        kept = masks.unpack(file)
    keep = masks.keep_counts(prunable.sizes(kept), 0.5, config.pruning.scope)
    for kernel in KERNELS:
        own = kept[kernel].sum((1, 2))
        np.testing.assert_array_equal(own.sum() if name == "smp-s" else own, keep[kernel])


def test_what_is_frozen_is_the_checkpoint_to_the_bit(made, told):
    _, folder = made("smp-s")
    before = load_file(told.encoder / "model.safetensors")
    exported = load_file(folder / "export" / "model.safetensors")
    after = {tensor.removeprefix("roberta."): value for tensor, value in exported.items()}
    for tensor, value in before.items():
        if tensor.startswith("classifier"):
            continue
        kernel = tensor.endswith("weight") and "encoder.layer" in tensor and "Norm" not in tensor
        if kernel:
            value = np.where(after[tensor] == 0, 0, value)
        np.testing.assert_array_equal(after[tensor], value, err_msg=tensor)
    assert any((after[key] != before[key]).any() for key in before if "encoder.layer" in key)


def test_the_teacher_is_the_dense_model_and_asked_once(done):
    _, _, folder = done
    (event,) = (event for event in tiny.events(folder) if event["kind"] == "teach")
    assert (event["phase"], event["labelled"]) == (1, tiny.ROWS["train"])
    assert event["targets"] == tiny.ROWS["train"] + 24  # a row of each language is in the test set
    losses = [event for event in tiny.events(folder) if event["kind"] == "train"]
    assert all(("teacher_loss" in event) == (event["phase"] > 0) for event in losses)
    assert all(("hidden_loss" in event) == (event["phase"] > 0) for event in losses)


def test_card_and_report_say_which_text_was_used(made):
    _, folder = made("movement")
    for page in (folder / "export" / "README.md", folder / "report.html"):
        text = page.read_text()
        assert "24 texts without labels in 2 languages (de 12, sw 12)" in text
        assert "50 % of the loss, temperature 2, and its hidden states" in text


def test_the_dense_phase_is_the_same_whatever_comes_after_it(made, told):
    (one, folder), (other, beside) = made("smp-s"), made("movement")
    plain = configured(told, "--config.method=l2-mbp", *TEXT)
    assert dense_key(one) == dense_key(other) == dense_key(plain)

    def dense(path):
        return [
            {name: value for name, value in event.items() if "per_second" not in name}
            for event in tiny.events(path)
            if event["phase"] == 0
        ]

    assert dense(folder) == dense(beside)
    assert {event["kind"] for event in dense(folder)} == {"train", "eval"}


def test_a_run_with_text_goes_on_from_a_dense_phase_without_it(told, tmp_path, monkeypatch):
    """Where all pieces are trained; to the bit what it becomes by itself."""
    whole = ("--config.method=l2-mbp", "--config.model.active_vocabulary=False")
    plain, taught = configured(told, *whole), configured(told, *whole, *TEXT)
    dense, adopted, adopt = DensePhases(tmp_path / "dense", [plain, taught]), [], DensePhases.adopt
    monkeypatch.setattr(
        DensePhases, "adopt", lambda *given: adopted.append(adopt(*given)) or adopted[-1]
    )
    runs = {"plain": plain, "taught": taught}
    for name, config in runs.items():
        launch.run(config, {0: tmp_path / name}, "the command", 0.0, Shared(dense=dense))
    assert adopted == [False, True]
    run(taught, tmp_path / "alone")
    assert tiny.outcome(tmp_path / "taught") == tiny.outcome(tmp_path / "alone")


def test_what_starts_anew_trains_as_long_as_what_continues(told):
    anew = configured(told, "--config.method=smp-l")
    other = configured(told, "--config.method=l2-mbp")
    tables = [load_inputs(config).time_table(config) for config in (anew, other)]
    assert tables[0].steps(1) == tables[1].steps(0) + tables[1].steps(1)
    assert tables[0].steps(2) == tables[1].steps(2)


def test_an_epoch_has_all_labels_once_and_its_share_of_text(told):
    config = configured(told, "--config.method=l2-mbp", *TEXT, "--config.distill.text_share=0.2")
    inputs = load_inputs(config)
    batches = Batches(config, inputs, inputs.time_table(config), 0.0)
    for phase, text in ((0, 0), (1, 10), (2, 10)):
        plan = batches._epoch(phase, 0, 0)
        rows = np.concatenate([part.rows.ravel() for part in plan])
        rows = rows[rows >= 0]
        labelled = rows[rows < inputs.labelled]
        np.testing.assert_array_equal(np.sort(labelled), np.arange(tiny.ROWS["train"]))
        assert len(rows) - len(labelled) == text
    mixed = replace(config, train=replace(config.train, epoch_parts=7))
    parts = Batches(mixed, inputs, inputs.time_table(mixed), 0.0)._epoch(1, 0, 0)
    assert [len(part.rows) for part in parts] == [1] * 7
    assert len(batches._epoch(1, 0, 0)) < 7
    nine = replace(inputs.train, lengths=np.full_like(inputs.train.lengths, 9))
    for many, length in ((1, 16), (2, 12), (4, 10)):
        finer = replace(config, train=replace(config.train, lengths_per_doubling=many))
        made = Batches(finer, replace(inputs, train=nine), batches.phases, 0.0)
        assert {part.length for part in made._epoch(0, 0, 0)} == {length}
    for part in batches.drawn(1, 0):  # of gradients that rank weights: labels alone
        assert part.rows.max() < inputs.labelled


def test_of_each_language_at_most_so_many_sentences_are_used(told):
    def texts(most):
        config = configured(
            told, "--config.method=l2-mbp", *TEXT, f"--config.distill.text_examples={most}"
        )
        inputs = load_inputs(config)
        rows = inputs.dataset.notes
        assert any(
            f"{sum(inputs.text_rows.values())} unlabelled rows in 2" in note for note in rows
        )
        return dict(inputs.text_rows), inputs.digests["text"]

    everything, few, fewer = texts(0), texts(5), texts(2)
    assert [rows for rows, _ in (everything, few, fewer)] == [
        {"de": 12, "sw": 12}, {"de": 5, "sw": 5}, {"de": 2, "sw": 2},
    ]  # fmt: skip
    assert texts(12) == everything != few  # known by what is used, not by the field


def test_a_checkpoint_teaches_from_the_start(told, made, tmp_path):
    _, folder = made("movement")
    flags = (f"--config.distill.teacher={folder / 'export'}", "--config.method=l2-mbp")
    run(configured(told, *flags), tmp_path / "run")
    events = tiny.events(tmp_path / "run")
    assert [event["phase"] for event in events if event["kind"] == "teach"] == [0]
    assert all("teacher_loss" in event for event in events if event["kind"] == "train")
    known = json.loads((tmp_path / "run" / "config.json").read_text())["inputs"]
    weights = folder / "export" / "model.safetensors"
    changed = {name: value * np.float32(1.5) for name, value in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    assert load_inputs(configured(told, *flags)).digests["teacher"] != known["teacher"]


def test_a_checkpoint_is_asked_once_whatever_happens(told, made, tmp_path, monkeypatch):
    """By several seeds, and by a run that was killed before its first step."""
    _, folder = made("movement")
    flags = (f"--config.distill.teacher={folder / 'export'}", "--config.method=l2-mbp")
    config = configured(told, *flags, "--config.pruning.first_epochs=0")
    asked, ask = [], assembly.ask_teacher
    monkeypatch.setattr(assembly, "ask_teacher", lambda *each: asked.append(1) or ask(*each))

    def killing(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "_evaluate", killing)
        with pytest.raises(Killed):
            run(config, tmp_path / "killed")
    assert run(config, tmp_path / "killed")["finished"]
    assert len(asked) == 1
    kinds = [event["kind"] for event in tiny.events(tmp_path / "killed")]
    assert kinds.count("teach") == 1
    seeds = {seed: tmp_path / f"s{seed}" for seed in (0, 1)}
    launch.run(config, seeds, "the command", time.monotonic())
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--config.distill.text=data", "--config.distill.teacher=none"),
            r"^distill\.text=data: text without labels needs a teac",
        ),
        (
            ("--config.distill.teacher=dense", "--config.distill.rows=text"),
            r"^distill\.rows=text: there is no text to speak about",
        ),
        (("--config.distill.teacher=nowhere/at/all",), r"^distill\.teacher=nowhere/at/all: "),
        (
            ("--config.distill.teacher=dense", "--config.pruning.first_epochs=0"),
            r"^distill\.teacher=dense: with pruning\.first_epochs=0",
        ),
        (
            ("--config.method=movement", "--config.pruning.keep_zeros"),
            r"^pruning\.keep_zeros: pruning\.criterion=movement lets",
        ),
        (
            ("--config.method=smp-l", "--config.regularizer.reference=finetuned"),
            r"^regularizer\.reference",
        ),
    ],
)
def test_mistakes_are_one_line(told, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        run(configured(told, *flags), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_needs_a_head_and_the_same_tokenizer(told, made, tmp_path):
    with pytest.raises(UserError, match="has no head for the task"):
        load_inputs(configured(told, f"--config.distill.teacher={told.encoder}"))
    teacher = tmp_path / "teacher"
    shutil.copytree(made("movement")[1] / "export", teacher)
    path = teacher / checkpoints.TOKENIZER
    path.write_text(path.read_text().replace("sw19", "sw77"))
    with pytest.raises(UserError, match="has another tokenizer"):
        load_inputs(configured(told, f"--config.distill.teacher={teacher}"))


def test_a_language_with_text_alone_is_asked_before_it_is_served(told, tmp_path, monkeypatch):
    """Its answers need no labels to be compared."""
    monkeypatch.setattr(served, "other_inputs", lambda *_: [])
    config = configured(told, "--config.eval.languages=en,de", *TEXT)
    found = served.of_run(tmp_path, config, ())
    assert sorted(found.rows) == ["de", "en", "sw"]
    # Half of its text, the other half is what is known: pieces are kept for what is known, so that
    # texts that are asked, too, could not lose any
    assert (found.rows["sw"].rows, found.known["sw"].rows) == (6, 6)
    assert not set(found.rows["sw"].text_a) & set(found.known["sw"].text_a)
    assert set(found.rows["sw"].labels) == {-1}
    assert (found.rows["de"].labels >= 0).all(), "it has test rows"
    assert sorted(served.of_run(tmp_path, config, ("en", "sw")).rows) == ["en", "sw"]
