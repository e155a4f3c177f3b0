"""An export as the encoder of another run: the same scores, or one line that says why not."""

import json
import time

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file
from tiny import configured

from alignreg_jax.errors import NonFiniteLoss, UserError
from alignreg_jax.pruning import masks
from alignreg_jax.reporting import report
from alignreg_jax.run import launch
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import check_inputs, load_inputs
from alignreg_jax.run.shared import Shared
from alignreg_jax.support import runtime

READ = ("--config.method=none", "--config.pruning.first_epochs=0", "--config.eval.splits=test")
ORDERS = {"as stored": ["off", "on", "open"], "another": ["open", "off", "on"]}


@pytest.fixture(scope="module", autouse=True)
def _no_reports():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_report", lambda workdir: workdir / "report.html")
        yield


@pytest.fixture(scope="module")
def shared():
    """What the runs of a sweep share: compiled programs, and encoders that were read."""
    runtime.prepare()
    return Shared()


@pytest.fixture(scope="module")
def run(world, shared):
    def start(*flags, folders):
        config = configured(world, "--config.checkpoint.every_steps=1000", *flags)
        return launch.run(config, folders, "the command", time.monotonic(), shared)

    return start


@pytest.fixture(scope="module")
def export(run, tmp_path_factory):
    """Pruned to 30 %, and better than chance."""
    folder = tmp_path_factory.mktemp("first") / "run"
    flags = ("--config.method=l2-mbp", "--config.pruning.steps=1", "--config.pruning.final=0.3")
    more = ("--config.pruning.first_epochs=6", "--config.eval.splits=test")
    (results,) = run(*flags, *more, folders={0: folder})
    assert results["prune_steps"][-1]["en"] > 0.6
    return folder / "export"


@pytest.fixture(scope="module")
def ordered(world, tmp_path_factory):
    """The world's data with its labels in the order given."""

    def write(labels):
        folder = tiny.copy(world.data, tmp_path_factory.mktemp("data") / "data")
        (folder / "labels.json").write_text(json.dumps(labels))
        return f"--config.task.data_dir={folder}"

    return write


def scores(results):
    return results["prune_steps"][-1]["languages"]


def test_labels_in_another_order_give_the_same_scores(run, export, ordered, tmp_path):
    """Also of seeds side by side, and in one sweep's memory of what it has read."""
    expected = json.loads((export.parent / "results.json").read_text())
    for name, labels in ORDERS.items():
        folders = {seed: tmp_path / name / f"s{seed}" for seed in (0, 1)}
        model = f"--config.model.name_or_path={export}"
        for results in run(*READ, model, ordered(labels), folders=folders):
            assert scores(results) == scores(expected)
        for folder in folders.values():
            config = json.loads((folder / "export" / "config.json").read_text())
            assert list(config["id2label"].values()) == labels
            stored, first = (
                load_file(path / "model.safetensors") for path in (folder / "export", export)
            )
            rows = [ORDERS["as stored"].index(label) for label in labels]
            for part in ("weight", "bias"):
                tensor = f"classifier.out_proj.{part}"
                np.testing.assert_array_equal(stored[tensor], first[tensor][rows])


def test_other_labels_are_refused_before_anything_is_written(world, export, ordered, tmp_path):
    data = tiny.copy(world.data, tmp_path / "data")
    for path in data.iterdir():
        path.write_text(path.read_text().replace('"label": "o', '"label": "another o'))
    model = f"--config.model.name_or_path={export}"
    config = configured(world, *READ, model, f"--config.task.data_dir={data}")
    says = r"\(off, on, open\) and the data 3 \(another off, another on, another open\).*new_head"
    with pytest.raises(UserError, match=says):
        launch.run(config, {0: tmp_path / "run"}, "the command", time.monotonic())
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=says):  # as a sweep does before its first run
        check_inputs(config, Cache())
    fresh = configured(world, model, f"--config.task.data_dir={data}", "--config.model.new_head")
    assert check_inputs(fresh, Cache()).steps_per_epoch == tiny.ROWS["train"] // 8
    inputs = load_inputs(fresh)
    assert inputs.encoder.initialised == inputs.encoder.skipped != []
    one, two = inputs.heads((0, 1))
    assert not np.array_equal(one["out"]["kernel"], two["out"]["kernel"])


def kernels(folder):
    tensors = load_file(folder / "model.safetensors")
    layers = [tensors[name] for name in sorted(tensors) if ".layer." in name]
    return [tensor for tensor in layers if tensor.ndim == 2]


def test_zeros_grow_back_or_are_kept(run, export, tmp_path, caplog):
    caplog.set_level("INFO")
    common = (
        f"--config.model.name_or_path={export}",
        "--config.method=l2-mbp",
        "--config.pruning.steps=1",
        "--config.pruning.first_epochs=1",
        "--config.eval.splits=test",
    )
    (grown,) = run(*common, "--config.pruning.steps=0", folders={0: tmp_path / "grown"})
    assert "70.0% of the encoder's prunable weights are exactly zero" in caplog.text
    assert "pruning.keep_zeros=true" in caplog.text
    assert grown["prune_steps"][0]["remaining"] == 1
    assert grown["prune_steps"][0]["nonzero"] > 0.95

    with pytest.raises(UserError, match=r"30\.0% of the prunable weights are not zero.*50\.0%"):
        run(*common, "--config.pruning.keep_zeros", folders={0: tmp_path / "kept"})
    assert not (tmp_path / "kept").exists()

    kept = (*common, "--config.pruning.keep_zeros", "--config.pruning.final=0.2")
    (results,) = run(*kept, folders={0: tmp_path / "kept"})
    left = [(step["remaining"], step["nonzero"]) for step in results["prune_steps"]]
    np.testing.assert_allclose(left, [(0.3, 0.3), (0.2, 0.2)], atol=1e-3)
    for event in tiny.events(tmp_path / "kept"):
        told = (0.3, 0.2)[event["phase"]]
        assert event["remaining"] == pytest.approx(told, abs=1e-3)
    before, after = kernels(export), kernels(tmp_path / "kept" / "export")
    assert all((two[one == 0] == 0).all() for one, two in zip(before, after, strict=True))
    assert any((two != one).any() for one, two in zip(before, after, strict=True))
    stored = masks.unpack(np.load(tmp_path / "kept" / "masks.npz"))
    assert np.mean([mask.mean() for mask in stored.values()]) == pytest.approx(0.2, abs=1e-3)


def test_logits_that_are_not_finite_are_not_scored(run, export, tmp_path):
    """Weights are finite, what comes out is not: there is no largest of NaN."""
    encoder = tiny.copy(export, tmp_path / "encoder")
    tensors = load_file(encoder / "model.safetensors")
    tensors["classifier.out_proj.weight"][:] = 3e38
    save_file(tensors, encoder / "model.safetensors")
    model = f"--config.model.name_or_path={encoder}"
    says = r"^seed 0, phase 0: logits are not finite in \d+ of the 18 rows of en test"
    with pytest.raises(NonFiniteLoss, match=says):
        run(*READ, model, folders={0: tmp_path / "run"})
    assert not (tmp_path / "run" / "results.json").exists()
