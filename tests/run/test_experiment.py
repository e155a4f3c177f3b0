"""One whole run in this process, on eight devices: what it does to the device, what it leaves."""

import csv
import json
import logging
import shutil
import time
from contextlib import contextmanager

import jax
import numpy as np
import pytest
import tiny
import xglue_tree
from safetensors.numpy import load, load_file
from tiny import configured

from alignreg_jax.data import encoding
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.evaluator import Evaluator
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.run import experiment as experiments
from alignreg_jax.run import launch, member
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.run.plan import Train
from alignreg_jax.support import runtime
from alignreg_jax.training.trainer import Trainer

pytestmark = pytest.mark.sharded  # whole runs on eight devices


@contextmanager
def guarded():
    """Refuse implicit transfers in everything a step, a cut and an evaluation do."""

    def guard(function):
        def inside(*arguments, **named):
            with jax.transfer_guard("disallow"):
                return function(*arguments, **named)

        return inside

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in (
            (Trainer, ("dispatch", "drain", "prune", "set_clock")),
            (Evaluator, ("predictions",)),
            (experiments, ("fetch",)),
        ):
            for name in names:
                patch.setattr(owner, name, guard(getattr(owner, name)))
        yield


@pytest.fixture(scope="module")
def world(mixed_world):
    return mixed_world


@pytest.fixture(scope="module")
def config(world):
    flags = ("--config.eval.every_phase_languages=sw", "--config.eval.save_predictions")
    return configured(world, *flags)


@pytest.fixture(scope="module")
def done(config, tmp_path_factory):
    """The experiment after its run, what it returned, and how often it compiled what."""
    workdir = tmp_path_factory.mktemp("experiment") / "run"
    runtime.prepare()
    with tiny.compiled() as programs:
        inputs, begun = load_inputs(config), time.monotonic()
        experiment = experiments.Experiment(config, inputs, {0: workdir}, "the command", begun)
        with guarded():
            (results,) = experiment.run()
    return experiment, results, programs


@pytest.fixture(scope="module")
def workdir(done):
    return done[0].members[0].workdir


def test_gates_need_phases_to_learn_in(world, tmp_path):
    config = configured(world, "--config.method=l0", "--config.pruning.epochs_per_step=0")
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"^pruning\.epochs_per_step=0: gates are learned in the"):
        launch.run(config, {0: folder}, "the command", time.monotonic())
    assert not folder.exists()


def test_a_cut_that_cannot_be_counted_is_told_before_the_first_phase(world, tmp_path, monkeypatch):
    """Nobody wants to hear after days of training that another scope would have been right."""
    sizes = {"output": (48, 100_000_000)}
    monkeypatch.setattr(experiments.prunable, "sizes", lambda kernels: sizes)
    config = configured(world, "--config.method=l2-global-mbp")
    folder = tmp_path / "run"
    with pytest.raises(
        UserError, match=r"^pruning\.scope=global: 4,800,000,000 weights in all kernels"
    ):
        launch.run(config, {0: folder}, "the command", time.monotonic())
    assert not folder.exists()


def test_the_guard_bites():
    """Or the run under it would prove nothing."""
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed"):
        jax.block_until_ready(jax.jit(lambda x: x + 1)(np.ones(3, np.float32)))


def test_one_program_for_each_length(done):
    """No phase, rate or short dispatch compiles again."""
    experiment, _, programs = done
    lengths = {
        dispatch.length
        for event in experiment.plan
        if isinstance(event, Train)
        for _, _, (dispatch,) in experiment.batches.of(event, [0], 0)
    }
    assert len(lengths) == 2
    assert programs["train"] == len(lengths)
    assert programs["predict"] == len(lengths)
    assert programs["prune"] == programs["serve"] == 1


def test_files(workdir, world):
    names = {path.name for path in workdir.iterdir()}
    assert names >= {
        ".lock", "config.json", "metrics.jsonl", "results.csv", "results.json", "masks.npz",
        "checkpoints", "export", "predictions", "report.html",
    }  # fmt: skip
    exported = {path.name for path in (workdir / "export").iterdir()}
    assert exported >= {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    copied = (workdir / "export" / "tokenizer.json").read_bytes()
    assert copied == (world.encoder / "tokenizer.json").read_bytes()
    assert "<html" in (workdir / "report.html").read_text()


def test_results_csv(workdir):
    with (workdir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "prune_step", "remaining", "split", "language", "metric", "value", "examples",
        "nonzero", "remaining_total",
    ]  # fmt: skip
    keys = [(int(r["prune_step"]), r["split"], r["language"], r["metric"]) for r in rows]
    assert keys == sorted(set(keys))
    languages = {step: {key[2] for key in keys if key[0] == step} for step in range(3)}
    assert languages == {0: set(tiny.LANGUAGES), 1: {"sw"}, 2: set(tiny.LANGUAGES)}
    for row in rows:
        assert 0 <= float(row["value"]) <= 1
        assert int(row["examples"]) == tiny.ROWS[row["split"]]
    remaining = {int(row["prune_step"]): float(row["remaining"]) for row in rows}
    assert remaining[0] == 1
    assert remaining[1] == pytest.approx(0.5**0.5, abs=1e-3)
    assert remaining[2] == 0.5
    assert all(float(row["nonzero"]) <= float(row["remaining"]) for row in rows)
    assert all(float(row["remaining_total"]) >= float(row["remaining"]) for row in rows)


def test_results_json(done, workdir):
    results = json.loads((workdir / "results.json").read_text())
    assert results == done[1]
    assert results["task"] == "folder"
    assert results["method"] == "frobenius-mbp"
    assert results["seed"] == 0
    assert results["finished"] is True
    assert results["wall_seconds"] > 0
    assert results["examples_per_second"] > 0
    assert [step["prune_step"] for step in results["prune_steps"]] == [0, 1, 2]
    with (workdir / "results.csv").open() as file:
        table = {
            (int(row["prune_step"]), row["language"]): float(row["value"])
            for row in csv.DictReader(file)
            if row["split"] == "test"
        }
    for step in results["prune_steps"]:
        assert step["languages"] == {
            language: value for (number, language), value in table.items()
            if number == step["prune_step"]
        }  # fmt: skip
        assert {"en", "zero_shot_avg", "avg", "worst", "retention"} <= set(step)
    last = results["prune_steps"][2]
    assert last["en"] == table[2, "en"]
    assert last["zero_shot_avg"] == pytest.approx((table[2, "de"] + table[2, "sw"]) / 2)
    assert last["avg"] == pytest.approx(sum(table[2, name] for name in tiny.LANGUAGES) / 3)


def test_metrics(workdir, config):
    events = tiny.events(workdir)
    assert [event["n"] for event in events] == list(range(len(events)))
    steps = [event["step"] for event in events if event["kind"] == "train"]
    assert steps == sorted(set(steps))
    assert steps[-1] == 20
    for event in events:
        if event["kind"] == "train":
            assert event["loss"] == pytest.approx(event["task_loss"] + event["penalty"], rel=1e-5)
            assert event["grad_norm"] > 0
            assert event["epoch"] == (event["step"] - 1) // 5
    assert sum(event["examples"] for event in events if event["kind"] == "train") == 4 * 40
    cuts = [event for event in events if event["kind"] == "prune"]
    assert [cut["phase"] for cut in cuts] == [1, 2]
    assert [cut["step"] for cut in cuts] == [10, 15]
    assert cuts[1]["kept"] == cuts[1]["prunable"] // 2
    assert cuts[1]["nonzero"] <= cuts[1]["kept"]


def test_predictions_are_what_the_scores_say(workdir, world):
    folder = workdir / "predictions"
    every = {f"{name}.{split}.txt" for name in tiny.LANGUAGES for split in ("dev", "test")}
    assert {path.name for path in (folder / "0").iterdir()} == every
    assert {path.name for path in (folder / "1").iterdir()} == {"sw.dev.txt", "sw.test.txt"}
    assert {path.name for path in (folder / "2").iterdir()} == every
    events = [event for event in tiny.events(workdir) if event["kind"] == "eval"]
    for event in events:
        for split, languages in event["scores"].items():
            for language, scores in languages.items():
                path = folder / str(event["phase"]) / f"{language}.{split}.txt"
                told = path.read_text().splitlines()
                lines = (world.data / f"{language}.{split}.jsonl").read_text().splitlines()
                labels = [json.loads(line)["label"] for line in lines]
                right = np.mean([ours == theirs for ours, theirs in zip(told, labels, strict=True)])
                assert scores["accuracy"] == pytest.approx(right)


def test_masks_and_export_agree(workdir):
    stored = np.load(workdir / "masks.npz")
    tensors = load_file(workdir / "export" / "model.safetensors")
    names = dict(zip(KERNELS, (
        "attention.self.query", "attention.self.key", "attention.self.value",
        "attention.output.dense", "intermediate.dense", "output.dense",
    ), strict=True))  # fmt: skip
    unpacked = masks.unpack(stored)
    kept = sum(int(np.sum(mask)) for mask in unpacked.values())
    total = sum(mask.size for mask in unpacked.values())
    assert kept == total // 2
    for kernel, name in names.items():
        for layer in range(tiny.LAYERS):
            exported = tensors[f"roberta.encoder.layer.{layer}.{name}.weight"].T
            np.testing.assert_array_equal(exported[~np.asarray(unpacked[kernel][layer])], 0)


def test_complete_is_said_and_nothing_is_tokenised(config, workdir, caplog, monkeypatch):
    monkeypatch.setattr(encoding, "encode", lambda *given, **named: pytest.fail("tokenised"))
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    with caplog.at_level(logging.INFO):
        (results,) = launch.run(config, {0: workdir}, "the command", time.monotonic())
    assert results == json.loads((workdir / "results.json").read_text())
    assert "already complete" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_what_the_first_process_finds_complete_is_so_for_all(config, tmp_path, monkeypatch):
    """Where another one does not see the folder, too: it must not train alone."""
    monkeypatch.setattr(launch, "load_inputs", lambda *given: pytest.fail("loaded"))
    monkeypatch.setattr(experiments.processes, "decide", lambda find, size: (1,) * size)
    assert launch.run(config, {0: tmp_path / "unseen"}, "the command", 0.0) == [{}]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"finished": false}'])
def test_results_of_an_unfinished_run_are_not_taken_for_complete(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    assert member.finished(tmp_path) is None


def test_another_mesh_continues_a_run(config, workdir, tmp_path, world):
    """Restored onto four devices of two, from the last checkpoint; only what follows is redone."""
    copied = tiny.copy(workdir, tmp_path / "run")
    (copied / "results.json").unlink()
    shutil.rmtree(copied / "export")
    flags = ("--config.eval.every_phase_languages=sw", "--config.eval.save_predictions")
    other = configured(world, *flags, "--config.mesh.data=4", "--config.mesh.fsdp=2")
    launch.run(other, {0: copied}, "the command", time.monotonic())
    assert (copied / "masks.npz").read_bytes() == (workdir / "masks.npz").read_bytes()
    ours, theirs = (path / "export" / "model.safetensors" for path in (copied, workdir))
    assert ours.read_bytes() == theirs.read_bytes()


def test_names_of_xglue_and_a_cache_that_cannot_be_used(world, tmp_path):
    """From XGLUE's files to those that its script scores; the cache is a file, not a folder."""
    (tmp_path / "file").write_text("")
    cache = str(tmp_path / "file" / "cache")
    fields = {
        "task.name": "ner",
        "task.data_dir": xglue_tree.write(tmp_path / "data", "NER"),
        "task.max_length": 16,
        "pruning.steps": 1,
        "pruning.first_epochs": 1,
        "eval.save_predictions": "xglue",
    }
    flags = [f"--config.{field}={value}" for field, value in fields.items()]
    workdir = tmp_path / "run"
    code, _, errors = tiny.run(tiny.command(world, workdir, *flags), ALIGNREG_CACHE=cache)
    assert code == 0, errors
    assert "Traceback" not in errors
    with (workdir / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["language"] for row in rows} == {"en", "de", "es", "nl"}
    assert {row["prune_step"] for row in rows} == {"0", "1"}
    assert {row["examples"] for row in rows} == {"2"}
    exported = json.loads((workdir / "export" / "config.json").read_text())
    assert exported["architectures"] == ["XLMRobertaForTokenClassification"]
    assert set(exported["label2id"]) == set(get_task("ner").labels)
    for language in ("en", "de", "es", "nl"):
        path = workdir / "predictions" / "xglue" / "1" / "test" / "NER" / f"{language}.prediction"
        first, second = path.read_text().strip("\n").split("\n\n")
        gold = fields["task.data_dir"].joinpath("NER", f"{language}.test").read_text().split("\n\n")
        assert len(first.split("\n")) == len(gold[0].strip("\n").split("\n"))
        assert set(first.split("\n") + second.split("\n")) <= set(get_task("ner").labels)


def test_rows_that_no_piece_uses_come_back_as_if_they_had_been_trained(world, done, workdir):
    """The run above has them cut from its word embedding; this one trains the whole table."""
    experiment = done[0]
    whole = configured(
        world,
        "--config.eval.every_phase_languages=sw",
        "--config.eval.save_predictions",
        "--config.model.active_vocabulary=False",
    )
    other = workdir.parent / "whole"
    launch.run(whole, {0: other}, "the command", time.monotonic())
    one, two = tiny.outcome(workdir), tiny.outcome(other)
    for files in (one, two):
        files["export"] = load(files.pop("export/model.safetensors"))
    assert one.keys() == two.keys()
    name = "roberta.embeddings.word_embeddings.weight"
    words = [files["export"].pop(name) for files in (one, two)]
    used = experiment.inputs.vocabulary.rows
    unused = np.setdiff1d(np.arange(len(words[0])), used)
    assert len(unused) >= 6
    np.testing.assert_array_equal(words[0][used], words[1][used])
    pretrained = experiment.inputs.encoder.params["embeddings"]["word"]["embedding"][unused]
    assert not np.array_equal(words[1][unused], pretrained)  # decay has worked on them
    rounding = 21 * np.finfo(np.float32).eps / 2  # of 20 steps there, of one product here
    np.testing.assert_allclose(words[0][unused], words[1][unused], rtol=rounding)
    for tensor in one["export"]:
        np.testing.assert_array_equal(one["export"][tensor], two["export"][tensor])
    del one["export"], two["export"]
    assert one == two  # scores, masks, predictions, the share of the whole model
