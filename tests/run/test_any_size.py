"""A whole run that is trained once for every size, and smaller models taken out of it."""

import json
import shutil
from dataclasses import replace

import empties
import kills
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file
from test_resume import saved_past, trained
from test_taught_runs import run
from tiny import configured

from alignreg_jax import shrink as program
from alignreg_jax.compress import agreement, budgets, folders, probing
from alignreg_jax.compress.budgets import Budget
from alignreg_jax.compress.shrink import shrink
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.models.slicing import absent_parameters, parameters, sliced
from alignreg_jax.pruning import elastic, size_files, units
from alignreg_jax.run import digests

SIZES = (1.0, 0.75, 0.3)
GIVEN = (
    "--config.method=elastic", "--config.pruning.sizes=1,.75,.3", "--config.pruning.depth=True",
    "--config.eval.save_predictions=True", "--config.pruning.epochs_per_step=2",
    "--config.export=steps",
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    world = tiny.build(tmp_path_factory.mktemp("sizes") / "world")
    config, folder = configured(world, *GIVEN), tmp_path_factory.mktemp("elastic") / "run"
    run(config, folder)
    return world, config, folder


few_texts = empties.few_texts  # in every test here


@pytest.fixture
def export(done, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(done[-1] / "export", tmp_path / "export")


def load(folder):
    return checkpoints.load(folder, head="dense-tanh-out", labels=tiny.LABELS, seed=0)


def test_every_size_is_a_step_of_the_tables_with_what_it_really_keeps(done):
    _, _, folder = done
    tau = size_files.read(folder / "export").tau
    steps = json.loads((folder / "results.json").read_text())["prune_steps"]
    assert [step.get("size") for step in steps] == [None, *SIZES]
    costs = {"heads": 4 * tiny.HIDDEN * (tiny.HIDDEN // tiny.HEADS), "ffn": 2 * tiny.HIDDEN}
    whole = elastic.cost_at(tau, costs, 1.0)
    for step in steps[1:]:
        assert step["remaining"] == elastic.cost_at(tau, costs, step["size"]) / whole
    order = [event["kind"] for event in tiny.events(folder)]
    assert order.count("order") == 1
    assert "prune" not in order
    assert order.index("order") < len(order) - 1 - order[::-1].index("train")


def test_the_dense_model_is_left_beside_the_one_that_has_every_size(done):
    _, _, folder = done
    dense, last = probing.models([str(folder)])
    assert (dense.folder, last.folder) == (folder / "steps" / "0", folder / "export")
    found = [load(model.folder).params["encoder"]["output"]["kernel"] for model in (dense, last)]
    assert np.abs(found[0] - found[1]).max() > 0


def test_a_run_that_is_killed_ends_with_the_same_bits(done, tmp_path):
    """In the dense phase, and where sizes are drawn: what is present when is in the checkpoint."""
    _, config, folder = done
    kills.run(config, tmp_path / "run", [lambda workdir: trained(workdir, 2), saved_past(10)])
    assert tiny.outcome(tmp_path / "run") == tiny.outcome(folder)


def test_a_smaller_model_is_taken_out_of_it(done, export, tmp_path):
    report = shrink(export, tmp_path / "small", "free", budget=Budget("size", 0.3))
    assert report.apart < 1e-6
    said = json.loads((export / size_files.SUMMARY).read_text())["sizes"][-1]
    assert report.after.parameters == said["parameters"] < report.before.parameters
    assert report.after.weights == round(said["encoder_weights"] * report.before.weights)
    card = (tmp_path / "small" / "README.md").read_text()
    assert "not there at size 0.3" in card
    assert "## A smaller one" in (export / "README.md").read_text()
    assert "## A smaller one" not in card
    predicted = done[-1] / "predictions" / "3" / "de.test.txt"
    config = configured(
        done[0], "--config.method=none", "--config.pruning.first_epochs=0",
        f"--config.model.name_or_path={tmp_path / 'small'}", "--config.eval.save_predictions=True",
    )  # fmt: skip
    run(config, tmp_path / "again")
    again = tmp_path / "again" / "predictions" / "0" / "de.test.txt"
    assert again.read_text() == predicted.read_text()


def test_a_size_with_all_heads_is_stock(export, tmp_path):
    """As of a run with pruning.scope=ffn; any order of units will do here."""
    loaded, sizes = load(export), size_files.read(export)
    costs = {"heads": 4 * tiny.HIDDEN * (tiny.HIDDEN // tiny.HEADS), "ffn": 2 * tiny.HIDDEN}
    order = {kind: sizes.tau[kind].astype(np.float64) for kind in units.UNITS}
    tau = elastic.thresholds(order, costs, "ffn")
    (export / size_files.SIZES).write_bytes(replace(sizes, tau=tau).to_bytes())
    report = shrink(export, tmp_path / "small", "stock", budget=Budget("size", 0.75))
    assert report.apart < 1e-6
    assert report.stock
    small = load(tmp_path / "small").config
    assert {layer.ffn for layer in small.layers} == {
        tiny.INNER // 2
    }  # half of the weights are the heads
    assert small.layers[0].heads == loaded.config.layers[0].heads


def test_a_size_of_whole_layers_is_stock(export, tmp_path):
    """As of a run with pruning.scope=layers."""
    loaded, sizes = load(export), size_files.read(export)
    tau = {kind: np.zeros_like(sizes.tau[kind]) for kind in units.UNITS}
    tau["layers"] = elastic.layer_thresholds(loaded.config.num_layers)
    (export / size_files.SIZES).write_bytes(replace(sizes, tau=tau).to_bytes())
    report = shrink(export, tmp_path / "small", "stock", budget=Budget("size", 0.5))
    assert report.apart < 1e-6
    assert report.stock
    small = load(tmp_path / "small").config
    assert small.layers == loaded.config.layers[:1]
    assert report.found.padding == 0
    assert report.after.weights * 2 == report.before.weights


def test_the_parameters_of_a_size_are_those_of_the_sliced_model(export):
    loaded, tau = load(export), size_files.read(export).tau
    for size in (0.3, 0.5, 0.75, 1.0):
        units = elastic.units_at(tau, size)
        less, _ = sliced(loaded.params, loaded.config, units)
        left = parameters(loaded.params) - absent_parameters(loaded.config, units)
        assert parameters(less) == left


def test_a_budget_gives_the_largest_size_that_fits(export, monkeypatch):
    loaded, sizes = load(export), size_files.read(export)
    network = agreement.Network(loaded.params, loaded.config, "dense-tanh-out")
    every = np.unique(np.concatenate([leaf.ravel() for leaf in sizes.tau.values()])).tolist()

    def left(size):
        units = elastic.units_at(sizes.tau, size)
        return parameters(loaded.params) - absent_parameters(loaded.config, units)

    def found(kind, value):
        return budgets.within(Budget(kind, value), sizes.tau, sizes.smallest, network)

    budget = (left(0.3) + left(1.0)) // 2
    fits = max(size for size in every if size >= 0.3 and left(size) <= budget)
    assert found("parameters", budget) == found("max-mb", budget * 4e-6) == fits
    assert found("macs", 1e15) == 1.0
    monkeypatch.setattr(budgets, "_latencies", lambda at, *_: [3.0, 5.0, 4.0, 6.0, 7.0, 8.0])
    assert found("latency-ms", 4.5) == pytest.approx(0.3)
    assert found("latency-ms", 8.0) == 1.0
    with pytest.raises(UserError, match=r"^--macs=nan: should be above 0$"):
        found("macs", float("nan"))
    with pytest.raises(UserError, match=r"^--parameters=7: the smallest size .* 0\.3, has"):
        found("parameters", 7)


@pytest.mark.parametrize("kind", ["parameters", "max-mb", "macs", "latency-ms"])
def test_a_budget_counts_what_the_stock_form_fills_up(world, tmp_path, monkeypatch, kind):
    """All heads stay; the second layer loses all of its units before the first loses one."""
    folder = tmp_path / "export"
    params, config = empties.load(world, "dense-tanh-out")
    saved = {"head": "dense-tanh-out", "labels": tiny.LABELS, "source": world.encoder}
    checkpoints.save(folder, params, config, **saved)
    ffn = np.linspace(0.2, 0.9, 128, dtype=np.float32).reshape(2, 64)[::-1]
    tau = {"heads": np.full((2, 4), 0.1, np.float32), "ffn": ffn.copy()}
    network = folders.read(folder).network
    own = digests.of_encoder(network.params, network.config)
    (folder / size_files.SIZES).write_bytes(size_files.Sizes(tau, 0.2, own).to_bytes())

    def cost(of):
        return {
            "parameters": parameters(of.params),
            "max-mb": 4e-6 * parameters(of.params),
            "macs": sum(each.ffn for each in of.config.layers),
            "latency-ms": sum(each.ffn for each in of.config.layers),
        }[kind]

    if kind == "macs":  # alone, for counts of units to compare
        monkeypatch.setitem(
            budgets._COSTS, kind, lambda network, units: float(np.count_nonzero(units["ffn"]))
        )
    monkeypatch.setattr(
        budgets, "_latencies",
        lambda sizes, units, _: [float(np.count_nonzero(units(size)["ffn"])) for size in sizes],
    )  # fmt: skip
    free = shrink(folder, tmp_path / "free", "free", budget=Budget("size", 0.7))
    most = cost(folders.read(tmp_path / "free").network)
    assert free.found.padding == 0
    for form in ("free", "stock"):
        out = tmp_path / f"at most, {form}"
        report = shrink(folder, out, form, budget=Budget(kind, most))
        assert cost(folders.read(out).network) <= most
        assert (report.found.padding > 0) == (form == "stock")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--size", "0"], "--size=0: should be above 0 and at most 1"),
        (["--size", "1.5"], "--size=1.5: should be above 0 and at most 1"),
        (["--size", ".1"], "--size=0.1: the smallest size that was trained is 0.3"),
        (["--parameters", "1e9"], "--parameters=1e+09 allows the whole model"),
        (["--size", ".5", "--macs", "3"], "not allowed with argument --size"),
        (["--size", "half"], "invalid float value: 'half'"),
    ],
)
def test_sizes_that_there_are_not(export, tmp_path, capsys, given, says):
    assert program.main([str(export), str(tmp_path / "out"), "--form", "free", *given]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_thresholds_of_another_model_or_none(export, tmp_path):
    path = export / "model.safetensors"
    tensors = load_file(path)
    tensors["roberta.encoder.layer.0.output.dense.bias"][0] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    half = Budget("size", 0.5)
    with pytest.raises(UserError, match=r"its sizes\.npz belongs to another model"):
        shrink(export, tmp_path / "out", "free", budget=half)
    (export / "sizes.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match=r"sizes\.npz: is damaged"):
        shrink(export, tmp_path / "out", "free", budget=half)
    (export / "sizes.npz").unlink()
    with pytest.raises(UserError, match=r"has no sizes\.npz"):
        shrink(export, tmp_path / "out", "free", budget=half)


@pytest.mark.parametrize(
    ("heads", "says"),
    [
        (lambda tau: tau[:1], r"thresholds of heads are \[1, 4\], the encoder has \[2, 4\]"),
        (lambda tau: tau + np.nan, "thresholds are not between 0 and 1"),
        (lambda tau: 1 + tau, "thresholds are not between 0 and 1"),
    ],
)
def test_thresholds_that_cannot_be(export, tmp_path, heads, says):
    arrays = dict(np.load(export / "sizes.npz"))
    np.savez(export / "sizes.npz", **(arrays | {"heads": heads(arrays["heads"])}))
    with pytest.raises(UserError, match=rf"sizes\.npz: is damaged \({says}\)$"):
        shrink(export, tmp_path / "out", "free", budget=Budget("size", 0.5))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("pruning.sizes=.5,.75", r"^pruning\.sizes: 0\.75 after 0\.5; give sizes from large"),
        ("pruning.scope=layers", r"^pruning\.sizes=0\.25: .* half of the layers always stay"),
        ("pruning.start=pretrained", r"^pruning\.start=pretrained: pruning\.sizes are of"),
        ("pruning.criterion=magnitude", r"pruning\.criterion=magnitude with pruning\.scope=units"),
    ],
)
def test_a_run_that_cannot_be(done, given, says):
    with pytest.raises(UserError, match=says):
        configured(done[0], "--config.method=elastic", f"--config.{given}")
