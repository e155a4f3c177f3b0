"""Whole runs from an encoder whose layers are uneven: trained, killed, exported, pruned again."""

import json
import sys

import empties
import jax
import kills
import numpy as np
import pytest
import tiny
from test_resume import trained

from alignreg_jax.compress.shrink import shrink
from alignreg_jax.main import main
from alignreg_jax.models import checkpoints, saving, slicing

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture(scope="module")
def encoder(world, tmp_path_factory):
    """Without two heads and 32 units, with a head for other labels' order."""
    folder = tmp_path_factory.mktemp("uneven")
    shrink(empties.write(world, folder / "export"), folder / "out", "free")
    return folder / "out"


def command(world, encoder, workdir, *flags):
    own = ("--config.method=none", f"--config.model.name_or_path={encoder}")
    return tiny.command(world, workdir, *own, "--config.checkpoint.every_steps=1", *flags)


@pytest.fixture(scope="module")
def config(world, encoder):
    own = ("--config.method=none", f"--config.model.name_or_path={encoder}")
    return tiny.configured(world, *own, "--config.checkpoint.every_steps=1")


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "run"
    kills.run(config, workdir)
    return workdir


def test_a_run_leaves_an_export_of_the_same_sizes(encoder, run):
    export = run / "export"
    before, after = (json.loads((each / "config.json").read_text()) for each in (encoder, export))
    assert after["intermediate_size"] == before["intermediate_size"] == empties.LEFT["ffn"]
    assert after["auto_map"] == before["auto_map"]
    assert (export / saving.CODE.name).exists()
    found, old = (
        checkpoints.load(each, head="dense-tanh-out", labels=tiny.LABELS, seed=0)
        for each in (export, encoder)
    )
    assert found.config == old.config
    moved = [
        path
        for path, leaf in empties.flat(found.params).items()
        if not np.array_equal(leaf, empties.flat(old.params)[path])
    ]
    assert "encoder/0/attention/value/kernel" in moved
    assert "encoder/1/output/kernel" in moved
    card = (export / "README.md").read_text()
    assert "from_pretrained(folder, trust_remote_code=True" in card
    results = json.loads((run / "results.json").read_text())
    assert [step["remaining"] for step in results["prune_steps"]] == [1.0]
    with np.load(run / "masks.npz") as stored:
        assert not stored.files
    assert "Weights by module and layer" in (run / "report.html").read_text()


def saved(workdir):
    return trained(workdir, 2) and any(workdir.glob("checkpoints/*.json"))


def test_a_kill_changes_no_bit(config, run, tmp_path):
    kills.run(config, tmp_path / "run", [saved])
    assert tiny.outcome(tmp_path / "run") == tiny.outcome(run)


@pytest.mark.parametrize(
    "flags",
    [
        ("--config.method=frobenius-mbp",),
        ("--config.regularizer.name=l2sp", "--config.regularizer.weight=1"),
    ],
)
def test_pruning_on_is_refused_in_one_line(world, encoder, tmp_path, capsys, monkeypatch, flags):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    workdir = tmp_path / "run"
    assert main(command(world, encoder, workdir, *flags)) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert "are of uneven sizes; set pruning.keep_zeros" in output.err
    assert "or method=none" in output.err
    assert not workdir.exists()


def test_uneven_layers_are_filled_up_pruned_on_and_made_smaller_again(
    world, encoder, tmp_path, caplog, monkeypatch
):
    """Zeros that were added count as pruned: with two cuts to half of all, they are among it."""
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    flags = (
        f"--config.model.name_or_path={encoder}", "--config.pruning.keep_zeros",
        "--config.method=l2-mbp", "--config.pruning.first_epochs=0",
    )  # fmt: skip
    caplog.set_level("INFO")
    assert main(tiny.command(world, tmp_path / "run", *flags)) == 0
    assert "layers of uneven sizes, filled up with zeros to 3 heads and 54" in caplog.text
    export = tmp_path / "run/export"
    options = {"head": "dense-tanh-out", "labels": tiny.LABELS, "seed": 0}
    old, new = checkpoints.load(encoder, **options), checkpoints.load(export, **options)
    assert new.config == slicing.evened(old.config)
    before, after = (empties.flat(each["encoder"]) for each in (
        slicing.padded(old.params, old.config), new.params
    ))  # fmt: skip
    for path in after:
        if path.endswith("kernel"):
            assert not np.any(after[path][before[path] == 0])
    results = json.loads((tmp_path / "run/results.json").read_text())["prune_steps"]
    assert results[0]["remaining"] < 1
    assert results[-1]["remaining"] == pytest.approx(0.5, abs=0.01)
    report = shrink(export, tmp_path / "again", "free")
    assert report.apart < 1e-6
    again = checkpoints.load(tmp_path / "again", **options).config
    for one, other in zip(again.layers, old.config.layers, strict=True):
        assert one.heads <= other.heads
        assert one.ffn <= other.ffn


def test_fewer_heads_everywhere_can_be_pruned_on(world, tmp_path, capsys, monkeypatch):
    """Its layers are stacked: cuts, masks and counts are as ever."""
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    params, config = empties.load(world)
    none = {"heads": {0: [], 1: []}, "ffn": {0: [], 1: []}}
    fewer = empties.empty(params, {**none, "heads": {0: [1], 1: [3]}}, none)
    model = {"config": config, "head": "dense-tanh-out", "labels": tiny.LABELS}
    checkpoints.save(tmp_path / "export", fewer, source=world.encoder, **model)
    shrink(tmp_path / "export", tmp_path / "out", "free")
    flags = (
        f"--config.model.name_or_path={tmp_path / 'out'}",
        "--config.pruning.steps=1",
        "--config.pruning.first_epochs=0",
    )
    assert main(tiny.command(world, tmp_path / "run", *flags)) == 0
    found = checkpoints.load(
        tmp_path / "run" / "export", head="dense-tanh-out", labels=tiny.LABELS, seed=0
    )
    assert (found.config.num_heads, found.config.head_size) == (3, empties.SIZE)
    kernels = [leaf for path, leaf in empties.flat(found.params).items() if "kernel" in path]
    assert all(jax.tree.map(np.count_nonzero, kernels))
    query = found.params["encoder"]["attention"]["query"]["kernel"]
    assert np.count_nonzero(query) == query.size // 2


@pytest.mark.slow
def test_an_uneven_model_teaches(world, encoder, tmp_path, capsys, monkeypatch):
    """One like itself, by hidden states, too; these say nothing to one of another shape."""

    def taught(name, own, hidden):
        monkeypatch.delitem(sys.modules, "config_config", raising=False)
        flags = (
            f"--config.model.name_or_path={own}",
            f"--config.distill.teacher={encoder}",
            f"--config.distill.hidden={hidden}",
            "--config.method=none",
            "--config.pruning.first_epochs=1",
            "--config.export=False",
        )
        return main(tiny.command(world, tmp_path / name, *flags))

    assert taught("like", encoder, 0.1) == 0
    events = [event for event in tiny.events(tmp_path / "like") if event["kind"] == "train"]
    assert all(event["teacher_loss"] > 0 and event["hidden_loss"] > 0 for event in events)
    capsys.readouterr()
    assert taught("refused", world.encoder, 0.1) == 2
    says = "has other attention heads or feed-forward units than the encoder; distill.hidden=0"
    assert says in capsys.readouterr().err
