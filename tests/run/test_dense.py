"""Which runs share their dense phase, and how it is handed on: whole, or not at all."""

import json
import shutil
from dataclasses import fields, replace

import jax
import numpy as np
import pytest

from alignreg_jax.config import (
    ExperimentConfig,
    PruningConfig,
    RegularizerConfig,
    default_config,
    resolve,
)
from alignreg_jax.run.dense import DensePhases, dense_key
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.manifests import Position

STEP = "steps/0/config.json"
XGLUE = "predictions/xglue/0/test/XNLI/en.prediction"
DONE = Position(step=10, phase=0, epoch=2, dispatch=0, events=2, seconds=5.0, evaluated=True)
INPUTS = {"rows": {"en.train": "0"}, "labels": "1", "active_pieces": "1"}


def resolved(method="l2-mbp", **changes):
    config = default_config()
    config.method = method
    config.pruning.steps = 4
    for path, value in changes.items():
        section, _, name = path.partition("__")
        if name:
            config[section][name] = value
        else:
            config[section] = value
    return resolve(config)


def key(*arguments, **changes):
    return dense_key(resolved(*arguments, **changes))


PLAIN = (
    "none", "random", "random-global", "l2-mbp", "l2-global-mbp", "gradient-mbp", "lookahead",
    "lamp", "frobenius-finetuned",
)  # fmt: skip


def test_rows_without_a_penalty_share():
    """None of them adds anything to the loss before the first cut."""
    assert len({key(method) for method in PLAIN}) == 1


def test_penalties_and_gates_train_by_themselves():
    methods = ("l2-mbp", "cosine-mbp", "frobenius-mbp", "l2sp", "l0")
    assert len({key(method) for method in methods}) == len(methods)


def test_same_penalty_shares_whatever_comes_after():
    assert key("frobenius-mbp") == key("frobenius-dense-only")
    assert key("frobenius-mbp") == key("frobenius-mbp", pruning__scope="global")
    assert key("l2-mbp") == key("l2-mbp", pruning__steps=6, pruning__epochs_per_step=3,
                                pruning__first_epochs=15)  # fmt: skip
    assert key("l2-mbp") == key("l2-mbp", checkpoint__every_steps=7, mesh__data=4, export=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"data_seed": 1},
        {"task__name": "pawsx"},
        {"task__train_examples": 100},
        {"model__name_or_path": "demo"},
        {"train__learning_rate": 1e-5},
        {"train__steps_per_dispatch": 4},
        {"train__epoch_parts": 4},
        {"train__lengths_per_doubling": 4},
        {"pruning__first_epochs": 1},
        {"pruning__keep_zeros": True},
        {"model__new_head": True},
        {"eval__languages": ("en",)},
        {"eval__save_predictions": True},
        {"regularizer__weight": 1.0},
        {"regularizer__norm": "norm"},
        {"regularizer__reduce": "mean"},
        {"regularizer__reference": "finetuned"},
        {"export": "steps"},
    ],
)
def test_what_phase_0_depends_on_separates(changes):
    assert key("frobenius-mbp", **changes) != key("frobenius-mbp")


def test_a_rate_that_falls_over_the_whole_run_separates_by_its_length():
    falling = {"train__schedule": "linear"}
    assert key("l2-mbp", **falling) == key("lamp", **falling)
    assert key("l2-mbp", **falling) != key("l2-mbp", pruning__steps=6, **falling)
    assert key("l2-mbp", **falling) != key("none", **falling)


def test_gates_stand_still_until_a_cut_is_ahead_whatever_it_is():
    assert key("l0") == key("l0-mbp") == key("l0", pruning__final=0.1, regularizer__weight=9.0)
    assert key("l0") != key("l0", regularizer__name="l0")  # without multipliers


def test_what_is_learned_later_does_not_change_the_dense_phase():
    assert key("smp-s") == key("movement") == key("l2-mbp")
    assert key("l2-mbp", distill__teacher="dense") == key("l2-mbp")
    assert key("l2-mbp", distill__teacher="somewhere") != key("l2-mbp")
    # The rate falls to 0 at the end of phase 0 where another start follows, else at the run's end
    falling = {"train__schedule": "linear"}
    assert key("smp-s", **falling) == key("smp-s", pruning__steps=6, **falling)
    assert key("smp-s", **falling) != key("l2-mbp", **falling)


def test_text_that_is_read_separates_though_phase_0_does_not_train_on_it():
    """By the pieces that are trained; where all are, text has no part in phase 0."""
    text = {"distill__text": "data"}
    assert key("l2-mbp", **text) != key("l2-mbp")
    assert key("l2-mbp", **text) == key("lamp", distill__text_share=0.2, **text)
    assert key("l2-mbp", **text) != key("l2-mbp", distill__text_languages=("sw",), **text)
    assert key("l2-mbp", **text) != key("l2-mbp", distill__text_examples=3, **text)
    whole = {"model__active_vocabulary": False}
    assert key("l2-mbp", **text, **whole) == key("l2-mbp", **whole)
    other = {"distill__teacher": "elsewhere", **text, **whole}
    assert key("l2-mbp", **other) != key("l2-mbp", distill__text_examples=3, **other)
    # Text makes later epochs longer, and so the rate of phase 0 higher where it falls until the end
    text["train__schedule"] = "linear"
    assert key("l2-mbp", **text) != key("l2-mbp", distill__text_share=0.2, **text)
    assert key("l2-mbp", **text, **whole) != key("l2-mbp", train__schedule="linear", **whole)


def test_without_a_cut_the_dense_phase_is_that_of_any_method():
    whole = {"pruning__steps": 0, "pruning__freeze": ("embeddings",)}
    assert key("none", **whole) == key("l2-mbp", pruning__freeze=("embeddings",))
    assert key("smp-l", **whole) == key("l2-mbp")


def test_fields_that_are_added_later_have_to_be_thought_about():
    """Of these sections not every field is in the key; of the others all are, or none."""

    def names(section):
        return {field.name for field in fields(section)}

    assert names(ExperimentConfig) == {
        "method", "seed", "seeds", "data_seed", "export", "model", "task", "train", "pruning",
        "regularizer", "distill", "eval", "checkpoint", "mesh", "tracking",
    }  # fmt: skip
    assert names(PruningConfig) == {
        "criterion", "scope", "schedule", "steps", "fraction", "final", "explicit",
        "epochs_per_step", "first_epochs", "gradient_batches", "gradients_on", "keep_zeros",
        "start", "freeze", "threshold", "warmup", "cooldown", "mask_every",
        "sizes", "sizes_of", "depth",
    }  # fmt: skip
    assert names(RegularizerConfig) == {
        "name", "weight", "reference", "norm", "reduce", "phases",
    }  # fmt: skip


# ---- Handing it on ------------------------------------------------------------------------------


def tree():
    return {"state": jax.device_put(np.arange(6, dtype=np.float32))}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run at the end of its phase 0."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    checkpoint = Checkpoints(workdir / "checkpoints", 2).save(
        tree(), replace(DONE, events=1, evaluated=False)
    )
    (workdir / "predictions" / "0").mkdir(parents=True)
    (workdir / "predictions" / "0" / "en.test.txt").write_text("on\n")
    (workdir / XGLUE).parent.mkdir(parents=True)
    (workdir / XGLUE).write_text("on\n")
    (workdir / STEP).parent.mkdir(parents=True)
    (workdir / STEP).write_text("{}")
    lines = [{"n": 0, "kind": "train"}, {"n": 1, "kind": "eval"}]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return workdir, checkpoint


@pytest.fixture
def dense(tmp_path):
    return DensePhases(tmp_path / "dense", [resolved("l2-mbp"), resolved("lamp")])


@pytest.fixture
def published(dense, trained, tmp_path):
    dense.publish(resolved("l2-mbp"), INPUTS, *trained, DONE)
    (folder,) = (tmp_path / "dense").iterdir()
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.is_file())  # fmt: skip


def test_the_other_run_begins_where_the_first_stood(dense, published, trained, tmp_path):
    assert dense.available(resolved("lamp"))
    assert dense.adopt(resolved("lamp"), INPUTS, tmp_path / "run")
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree()
    )
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 2)
    found, position = checkpoints.restore(lambda position: abstract)
    assert position == DONE
    np.testing.assert_array_equal(found["state"], tree()["state"])
    for name in ("metrics.jsonl", "predictions/0/en.test.txt", XGLUE, STEP):
        assert (tmp_path / "run" / name).read_bytes() == (trained[0] / name).read_bytes()
    # What the first run writes from now on is its own
    kept = published / "phase-0" / "metrics.jsonl"
    assert not kept.samefile(trained[0] / "metrics.jsonl")


def test_the_checkpoint_is_not_copied(published, trained):
    largest = max((path for path in trained[1].rglob("*") if path.is_file()),
                  key=lambda path: path.stat().st_size)  # fmt: skip
    link = published / "phase-0" / "checkpoint" / largest.relative_to(trained[1])
    assert link.samefile(largest)


def test_a_run_that_has_begun_by_itself_goes_on_by_itself(dense, published, tmp_path):
    workdir = tmp_path / "run"
    Checkpoints(workdir / "checkpoints", 2).save(tree(), replace(DONE, step=3, evaluated=False))
    assert not dense.adopt(resolved("lamp"), INPUTS, workdir)
    assert not (workdir / "metrics.jsonl").exists()


def test_nothing_is_kept_for_nobody(trained, tmp_path):
    alone = DensePhases(tmp_path / "dense", [resolved("l2-mbp"), resolved("cosine-mbp")])
    alone.publish(resolved("l2-mbp"), INPUTS, *trained, DONE)
    assert not (tmp_path / "dense").exists()
    assert not alone.adopt(resolved("l2-mbp"), INPUTS, tmp_path / "run")


def test_damage_to_any_file_is_noticed_and_repaired(dense, published, trained, tmp_path, caplog):
    names = files(published)
    assert len(names) > 4
    for number, name in enumerate(names):
        path = published / name
        content = path.read_bytes()
        path.unlink()  # never through the link: the first run's file is the same one
        path.write_bytes(content[:-1])
        workdir = tmp_path / f"run{number}"
        assert dense.adopt(resolved("lamp"), INPUTS, workdir) == (not content), name
        assert content == b"" or not workdir.exists() or not files(workdir)
        dense.publish(resolved("lamp"), INPUTS, *trained, DONE)
    assert "damaged" in caplog.text
    assert dense.adopt(resolved("lamp"), INPUTS, tmp_path / "last")


def test_unfinished_is_as_good_as_not_there(dense, published, tmp_path):
    (published / "phase-0.json").unlink()
    assert not dense.adopt(resolved("lamp"), INPUTS, tmp_path / "run")


def test_a_kill_while_it_was_taken_over(dense, published, tmp_path):
    """Everything but the manifest: taken over again."""
    workdir = tmp_path / "run"
    assert dense.adopt(resolved("lamp"), INPUTS, workdir)
    (workdir / "checkpoints" / "000000.json").unlink()
    (workdir / "metrics.jsonl").write_text("")
    assert dense.adopt(resolved("lamp"), INPUTS, workdir)
    assert len((workdir / "metrics.jsonl").read_text().splitlines()) == DONE.events


@pytest.mark.parametrize("changed", ["rows", "active_pieces"])
def test_a_dense_phase_of_other_inputs_is_nobody_elses(
    dense, published, trained, tmp_path, changed
):
    other = INPUTS | {changed: {"en.train": "2"} if changed == "rows" else "2"}
    assert not dense.adopt(resolved("lamp"), other, tmp_path / "run")
    dense.publish(resolved("lamp"), other, *trained, DONE)
    assert len(list(published.parent.iterdir())) == 2
    for inputs in (INPUTS, other):
        assert dense.adopt(resolved("lamp"), inputs, tmp_path / f"run {inputs}")


def test_first_come_first_served(dense, published, trained):
    before = (published / "phase-0.json").stat().st_mtime_ns
    dense.publish(resolved("lamp"), INPUTS, *trained, DONE)
    assert (published / "phase-0.json").stat().st_mtime_ns == before
    assert [path.name for path in published.parent.iterdir()] == [published.name]


def test_dropped_when_nobody_needs_it(dense, published, tmp_path):
    shutil.copytree(published, published.with_name(f".{published.name}.0123abcd"))
    dense.drop("0" * 16)
    assert published.exists()
    dense.drop(key("lamp"))
    assert not (tmp_path / "dense").exists()
