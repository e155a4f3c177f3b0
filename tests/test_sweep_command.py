"""The command line of a sweep, and starts whose runs fail, are shared out or are stopped."""

import json
import re

import jax
import pytest
import tiny_sweep

from alignreg_jax.run import rows
from alignreg_jax.support import runtime
from alignreg_jax.sweep import main
from alignreg_jax.sweeping import runner
from alignreg_jax.training.trainer import Trainer

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
config, tried = tiny_sweep.config, tiny_sweep.tried
_one_config_file = tiny_sweep.one_config_file


def test_shards_do_all_of_it_between_them(config, tmp_path, tried):
    folder = tmp_path / "sweep"
    for flags in (["--shard", "1/2"], ["--shard=2/2"]):
        assert main(tiny_sweep.command(config, folder, *flags)) == 0
        command = json.loads((folder / "sweep.json").read_text())["command"]
        assert command.split()[3:] == tiny_sweep.command(config, folder)
    expected = [f"folder/{row}/s{seed}" for seed in (0, 1) for row in tiny_sweep.METHODS]
    assert [path.relative_to(folder).as_posix() for path in tried] == expected


def test_a_bug_does_not_stop_the_rest(config, tmp_path, monkeypatch, capsys):
    def run(config, folders, *given):
        (workdir,) = folders.values()
        raise ZeroDivisionError(f"in {workdir.name}\nand more")

    monkeypatch.setattr(runner.launch, "run", run)
    assert main(tiny_sweep.command(config, tmp_path / "sweep")) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    for name in tiny_sweep.names():
        assert name in last
        first, *rest = (tmp_path / "sweep" / "failed" / f"{name}.txt").read_text().splitlines()
        assert first.startswith("ZeroDivisionError: in s")
        assert "Traceback" in rest[0]
    assert not (tmp_path / "sweep" / "table.html").exists()


def test_a_run_that_is_only_the_dense_phase_of_another(config, tmp_path, monkeypatch):
    """`none` takes all it has from the run before it: nothing is left to train or evaluate."""
    trained, dispatch = [], Trainer.dispatch

    def watched(self, plan, **named):
        trained.append(len(plan.rows))
        return dispatch(self, plan, **named)

    monkeypatch.setattr(Trainer, "dispatch", watched)
    folder = tmp_path / "sweep"
    flags = ["--config.methods=l2-mbp,none", "--config.seeds=0,"]
    assert main(tiny_sweep.command(config, folder, *flags)) == 0
    assert sum(trained) == sum(tiny_sweep.STEPS.values())
    dense, none = (
        json.loads((folder / "folder" / row / "s0" / "results.json").read_text())["prune_steps"]
        for row in ("l2-mbp", "none")
    )
    assert none == dense[:1]
    assert (folder / "folder" / "none" / "s0" / "report.html").exists()


def test_what_fails_side_by_side_is_tried_alone(config, tmp_path, monkeypatch, caplog):
    alone = []

    def run(config, folders, *given):
        if len(folders) > 1:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        alone.extend(path.name for path in folders.values())

    monkeypatch.setattr(runner.launch, "run", run)
    flags = ["--config.together=2", "--config.methods=l2-mbp,random"]
    assert main(tiny_sweep.command(config, tmp_path / "sweep", *flags)) == 0
    assert alone == ["s0", "s1"] * 2
    assert caplog.text.count("RESOURCE_EXHAUSTED: out of memory; trying one after") == 2
    assert not (tmp_path / "sweep" / "failed").exists()


@pytest.mark.parametrize(("many", "kept"), [(0.0, [0] * 6), (0.9, [0] + [1] * 5)])
def test_programs_are_forgotten_before_they_take_all_maps(
    many, kept, config, tmp_path, monkeypatch
):
    program, found = jax.jit(lambda x: x + many), []

    def run(*given):
        found.append(program._cache_size())
        program(1.0)

    monkeypatch.setattr(runner.launch, "run", run)
    monkeypatch.setattr(runtime, "_MANY", many)
    assert main(tiny_sweep.command(config, tmp_path / "sweep")) == 0
    assert found == kept


def test_interrupted(config, tmp_path, monkeypatch, capsys):
    def run(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.launch, "run", run)
    assert main(tiny_sweep.command(config, tmp_path / "sweep")) == 130
    assert "the same command continues" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    config, monkeypatch, capsys
):
    monkeypatch.setattr(rows.sources, "load", lambda *given, **named: pytest.fail("read"))
    assert main(tiny_sweep.command(config, "/proc/sweep")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --workdir=/proc/sweep cannot be written")


def test_check_reads_all_input_and_writes_nothing(config, tmp_path, capsys):
    folder = tmp_path / "sweep"
    assert main(tiny_sweep.command(config, folder, "--check")) == 0
    first, later = tiny_sweep.STEPS[0], tiny_sweep.STEPS[1] + tiny_sweep.STEPS[2]
    runs = len(tiny_sweep.METHODS) * len(tiny_sweep.SEEDS)
    steps = len(tiny_sweep.SEEDS) * first + runs * later
    assert f"0 of {runs} runs are done; the others have at most {steps}" in capsys.readouterr().out
    fused = "--config.base.model.attention=fused"
    assert main(tiny_sweep.command(config, folder, "--check", fused)) == 2
    assert "error: model.attention=fused needs an NVIDIA GPU" in capsys.readouterr().err
    neighbours = "--config.methods=l2-mbp@pruning.scope=n:4"
    flags = [neighbours, "--config.baseline=l2-mbp@pruning.scope=n:4", "--check"]
    assert main(tiny_sweep.command(config, folder, *flags)) == 2
    assert "error: pruning.scope=n:4: 3, 2 or 1 of four" in capsys.readouterr().err
    assert not folder.exists()


# ---- The command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.methods=mbp"], ["methods", "mbp", "frobenius-mbp"]),
        (["--config.methods=l2-mbp", "--config.methods=l2-mbp@regularizer.wieght=1"],
         ["regularizer.wieght", "regularizer.weight"]),
        (["--config.tasks=xquad"], ["tasks", "xquad"]),
        (["--config.tasks=folder@task.data_dir=/no/such/folder"], ["/no/such/folder"]),
        (["--config.baseline=lamp"], ["baseline='lamp'"]),
        (["--config.remaining=0.42"], ["remaining=0.42"]),
        (["--config.base.train.batch_size=many"], ["train.batch_size", "many"]),
        (["--config.base.train.batchsize=1"], ["base.train.batch_size"]),
        (["--config.base.seed=1"], ["--config.base.seed", "no such field"]),
        (["--config.base.task.data_dir=/no/such/folder"], ["/no/such/folder"]),
        (["--config.base.model.name_or_path=./nowhere"], ["nowhere"]),
        (["--config.base.eval.languages=xx"], ["eval.languages", "xx"]),
        (["--config.train.batch_size=8"], ["--config.train.batch_size", "base.train.batch_size"]),
        (["--shard=3/2"], ["--shard=3/2"]),
        (["--shards=1/2"], ["shards"]),
        (["surplus"], ["surplus"]),
    ],
    ids=lambda value: value[-1] if value[0].startswith("-") else "",
)  # fmt: skip
def test_mistakes(config, tmp_path, capsys, flags, words):
    """One line that names it, before anything is started or written."""
    folder = tmp_path / "sweep"
    assert main(tiny_sweep.command(config, folder, *flags)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert not folder.exists()


@pytest.mark.parametrize(("given", "said"), [("5", True), ("0", False), ("5,6", False)])
def test_one_seed_is_told_to_who_may_have_meant_a_number_of_them(
    config, tmp_path, caplog, given, said
):
    flags = ["--list", f"--config.seeds={given}"]
    with caplog.at_level("INFO"):
        assert main(tiny_sweep.command(config, tmp_path / "sweep", *flags)) == 0
    assert ("seeds=5: one seed, of that number" in caplog.text) == said


def test_a_config_of_a_run(world, tmp_path, capsys):
    assert main(tiny_sweep.command(world.config, tmp_path / "sweep")) == 2
    assert "sweeping.starts.default_config" in capsys.readouterr().err


def test_rows_of_long_names_fit_into_a_hundred_columns(config, tmp_path, capsys):
    long = "l2-mbp@train.learning_rate=0.001@train.weight_decay=0.001@train.steps_per_dispatch=3"
    name = f"{long}@train.warmup_steps=3@pruning.keep_zeros=True"
    flags = ("--list", f"--config.methods=l2-mbp,{name}", "--config.seeds=0")
    assert main(tiny_sweep.command(config, tmp_path / "new", *flags)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    first = next(number for number, line in enumerate(lines) if long[:40] in line)
    assert name in "".join(line.strip() for line in lines[first : first + 2])
    assert lines[first + 2].strip().startswith("…")


def test_help_with_a_config_shows_what_it_sets(config, capsys):
    assert main(["--help", "--config", str(config)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^\* --config\.methods=l2-mbp,", output, re.M)
    assert re.search(r"^\* --config\.base\.task\.source=folder ", output, re.M)
    assert re.search(r"^  --config\.together=0 ", output, re.M)
    assert "base.seed=" not in output


def test_help(capsys):
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    for word in ("--shard I/N", "--list", "baseline", "steps_per_dispatch"):
        assert word in output
