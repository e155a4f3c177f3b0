"""A sweep of the tiny world: what its runs share, what it leaves behind, and how it goes on."""

import csv
import json
import logging
import re
import shutil
import sys
import time

import finished_sweep
import pytest
import tiny
import tiny_sweep

from alignreg_jax.run import inputs as reading
from alignreg_jax.run import launch, member, rows
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import identify
from alignreg_jax.sweep import main
from alignreg_jax.sweeping import runner

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
config, tried = tiny_sweep.config, tiny_sweep.tried
_one_config_file = tiny_sweep.one_config_file
done, folder = finished_sweep.done, finished_sweep.folder
no_reports = finished_sweep.no_reports


@pytest.fixture(scope="module")
def world(mixed_world):
    return mixed_world


def test_all_but_the_failing_runs_are_done(done):
    folder, code, *_ = done
    assert code == 1
    for name in tiny_sweep.names():
        assert json.loads((folder / name / "results.json").read_text())["finished"] is True
    assert (folder / "table.html").exists()
    table = (folder / "table.md").read_text()
    for row in tiny_sweep.METHODS:
        assert row in table


def test_failures_are_recorded_in_one_line(folder):
    for seed in tiny_sweep.SEEDS:
        text = (folder / "failed" / "folder" / finished_sweep.BAD / f"s{seed}.txt").read_text()
        assert len(text.splitlines()) == 1
        assert "not finite at step" in text
        assert "lower train.learning_rate, with another --workdir" in text  # this one has its own
        assert not (folder / "folder" / finished_sweep.BAD / f"s{seed}" / "results.json").exists()


def test_programs_are_compiled_once_for_what_they_depend_on(done):
    """Neither seeds nor rates, nor criteria that share a penalty, nor failures compile again."""
    _, _, programs, _, _ = done
    lengths, penalties, criteria = 2, 2, 2
    assert programs["train"] == penalties * lengths
    assert programs["predict"] == lengths
    assert programs["prune"] == criteria
    assert programs["serve"] == 1


def test_dense_phases_are_trained_once(done):
    _, _, _, trained, _ = done
    seeds, rows = len(tiny_sweep.SEEDS), len(tiny_sweep.METHODS)
    failing = trained[0] - seeds * tiny_sweep.STEPS[0]
    assert 0 < failing <= seeds * tiny_sweep.STEPS[0]  # until somebody looked at the loss
    for phase in (1, 2):
        assert trained[phase] == seeds * rows * tiny_sweep.STEPS[phase]
    assert not (done[0] / "dense").exists()


def test_everything_is_read_once(done):
    assert done[4] == {"encoder": 1, "data": 1}


def test_the_time_left_is_told_from_the_steps_that_are_left(done):
    """Dense phases count once; what a failure leaves undone is no longer ahead."""
    (bar,), trained = finished_sweep.Bar.made, done[3]
    seeds, later = len(tiny_sweep.SEEDS), tiny_sweep.STEPS[1] + tiny_sweep.STEPS[2]
    groups_of_rows = 2  # those without a penalty at first, and the failing one
    assert bar.first_total == seeds * (groups_of_rows * 10 + 4 * later)
    assert bar.total == bar._done
    of_failures = bar.total - seeds * (10 + 3 * later)
    assert 0 <= of_failures < trained[0] - seeds * 10


@pytest.mark.parametrize("row", ["random", "frobenius-finetuned"])
def test_runs_are_what_they_are_alone(done, config, tmp_path, row):
    """To the bit, though another run has trained their dense phase."""
    run = next(run for run in tiny_sweep.runs_of(config) if (run.row, run.seed) == (row, 1))
    launch.run(run.config, {1: tmp_path / "alone"}, "alone", time.monotonic())
    assert tiny.outcome(done[0] / run.name) == tiny.outcome(tmp_path / "alone")
    assert told(done[0] / run.name) == told(tmp_path / "alone")


def told(workdir):
    """Events without what a clock says."""
    events = tiny.events(workdir)
    return [{k: v for k, v in event.items() if k != "examples_per_second"} for event in events]


def test_main_takes_a_run_of_a_sweep_for_its_own(folder, config, caplog):
    run = tiny_sweep.runs_of(config)[0]
    caplog.set_level("INFO")
    folders = {run.seed: folder / run.name}
    (results,) = launch.run(run.config, folders, "the command", time.monotonic())
    assert results["finished"]
    assert "already complete" in caplog.text


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_start_does_nothing(folder, config, monkeypatch, capsys):
    for name in ("load_inputs", "Experiment"):
        monkeypatch.setattr(runner.launch, name, lambda *given: pytest.fail("started"))
    before = snapshot(folder / "folder")
    assert main(tiny_sweep.command(config, folder)) == 0
    assert snapshot(folder / "folder") == before
    output = capsys.readouterr()
    assert "l2-mbp" in output.out
    assert str(folder / "table.html") in output.out


def test_a_later_start_tries_failures_again(folder, config, tmp_path, tried):
    copied = tiny.copy(folder, tmp_path / "sweep")
    assert main(tiny_sweep.command(config, copied, *finished_sweep.FLAGS)) == 0
    assert tried == [
        copied / "folder" / finished_sweep.BAD / f"s{seed}" for seed in tiny_sweep.SEEDS
    ]
    assert not (copied / "failed").exists()


def test_more_seeds_and_rows_later(folder, config, tmp_path, tried):
    copied = tiny.copy(folder, tmp_path / "sweep")
    flags = ["--config.seeds=0,1,2", "--config.methods=l2-mbp,lamp"]
    assert main(tiny_sweep.command(config, copied, *flags)) == 0
    assert [path.relative_to(copied).as_posix() for path in tried] == [
        "folder/lamp/s0", "folder/lamp/s1", "folder/l2-mbp/s2", "folder/lamp/s2"
    ]  # fmt: skip


def test_a_run_of_another_process_is_skipped_and_said(
    folder, config, tmp_path, tried, monkeypatch, caplog
):
    copied = tiny.copy(folder, tmp_path / "sweep")
    run = copied / tiny_sweep.names()[0]
    (run / "results.json").unlink()

    def start(config, folders, *given):
        (workdir,) = folders.values()
        workdirs.check_free(workdir)
        tried.append(workdir)

    monkeypatch.setattr(runner.launch, "run", start)
    with workdirs.locked(run), caplog.at_level(logging.INFO):
        assert main(tiny_sweep.command(config, copied)) == 0
    assert tried == []
    assert "folder l2-mbp s0: another process runs it; skipped" in caplog.text
    assert not (copied / "failed" / "folder" / "l2-mbp").exists()


@pytest.mark.usefixtures("no_reports")
def test_seeds_of_a_row_side_by_side(done, config, tmp_path, monkeypatch):
    """One program for both, and scores as from one after the other."""
    started, run = [], runner.launch.run

    def watched(config, folders, *given):
        started.append(list(folders))
        return run(config, folders, *given)

    monkeypatch.setattr(runner.launch, "run", watched)
    folder = tmp_path / "sweep"
    flags = ["--config.together=2", "--config.methods=l2-mbp"]
    assert main(tiny_sweep.command(config, folder, *flags)) == 0
    assert started == [[0, 1]]
    for seed in tiny_sweep.SEEDS:
        name = f"folder/l2-mbp/s{seed}/results.csv"
        assert (folder / name).read_text() == (done[0] / name).read_text()


def test_list(folder, config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reading.checkpoints, "load", lambda *given: pytest.fail("loaded"))
    monkeypatch.setattr(rows.sources, "load", lambda *given: pytest.fail("read"))
    assert main(tiny_sweep.command(config, folder, "--list", *finished_sweep.FLAGS)) == 0
    listing, outlook = capsys.readouterr().out.split("\n\n")
    lines = listing.splitlines()[2:]
    assert re.search(r"2 seeds a row detect a difference of [\d.]+ points at 80 %\s+power", outlook)
    assert "(of the finished runs)" in outlook or "(a guess)" in outlook
    assert max(map(len, lines)) <= 100
    found = {words[-1]: words[:-1] for line in lines if len(words := re.split(r"  +", line)) == 3}
    assert len(found) == 8
    assert listing.startswith(f"in {folder}\n")
    assert found["folder/random/s1"] == ["done", found["folder/l2-mbp/s1"][1]]
    assert found["folder/frobenius-finetuned/s1"][1] == found["folder/l2-mbp/s1"][1]
    state, number = found[f"folder/{finished_sweep.BAD}/s0"]
    assert state == "failed"
    assert [other[1] for other in found.values()].count(number) == 1  # a dense phase of its own
    assert main(tiny_sweep.command(config, tmp_path / "new", "--list", "--shard", "1/2")) == 0
    listing, outlook = capsys.readouterr().out.split("\n\n")
    lines = listing.splitlines()[2:]
    assert "if seeds spread by 2.0 points (a guess)." in outlook.replace("\n", " ")
    assert [re.split(r"  +", line)[::2] for line in lines] == [
        ["to do", f"folder/{row}/s0"] for row in tiny_sweep.METHODS
    ]
    assert not (tmp_path / "new").exists()


# ---- The inputs of its runs -------------------------------------------------------------------


@pytest.fixture
def moved(world, tmp_path):
    """The data elsewhere, and the flag that says so."""
    data = tiny.copy(world.data, tmp_path / "data")
    return data, f"--config.base.task.data_dir={data}/"


def tables(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.*")}


def test_inputs_may_move(folder, config, tmp_path, moved, tried):
    copied = tiny.copy(folder, tmp_path / "sweep")
    assert main(tiny_sweep.command(config, copied, moved[1])) == 0
    assert tried == []
    assert (copied / "results.csv").read_bytes() == (folder / "results.csv").read_bytes()


def test_finished_runs_of_other_inputs_are_not_taken(
    folder, config, tmp_path, moved, tried, capsys
):
    """Nor redone: one line says which they are, and nothing is written."""
    copied = tiny.copy(folder, tmp_path / "sweep")
    path = moved[0] / "de.test.jsonl"
    path.write_text(path.read_text().replace("de", "sw", 1))
    before = tables(copied)
    flags = ["--config.methods=l2-mbp,lamp", moved[1]]
    assert main(tiny_sweep.command(config, copied, *flags)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1] == (
        f"error: --workdir={copied}: begun with other inputs: folder/l2-mbp/s0, folder/l2-mbp/s1 "
        "(rows of de.test); bring those back, delete the folders of these runs, or give another "
        "--workdir"
    )
    assert tried == []
    assert tables(copied) == before
    for seed in tiny_sweep.SEEDS:  # what was advised
        shutil.rmtree(copied / f"folder/l2-mbp/s{seed}")
    assert main(tiny_sweep.command(config, copied, *flags)) == 0
    assert len(tried) == 4


def test_a_run_that_another_machine_has_made_from_other_inputs_is_not_averaged(
    folder, config, tmp_path, caplog
):
    copied = tiny.copy(folder, tmp_path / "sweep")
    path = copied / tiny_sweep.names()[-1] / "config.json"
    content = json.loads(path.read_text())
    content["inputs"]["encoder"] = "another"
    path.write_text(json.dumps(content))
    assert main(tiny_sweep.command(config, copied, "--shard=1/2")) == 0
    said = "Failed: folder/frobenius-finetuned/s1: done, but from other inputs: encoder"
    assert said in (copied / "table.md").read_text()
    assert "folder frobenius-finetuned s1 is not counted" in caplog.text
    with (copied / "results.csv").open() as file:
        counted = {(row["method"], row["seed"]) for row in csv.DictReader(file)}
    assert len(counted) == len(tiny_sweep.names()) - 1
    assert ("frobenius-finetuned", "1") not in counted


def test_rows_that_are_evaluated_on_other_rows_are_not_compared(
    folder, config, tmp_path, tried, caplog
):
    copied = tiny.copy(folder, tmp_path / "sweep")
    flags = ["--config.methods=l2-mbp", "--config.methods=l2-mbp@eval.examples=5"]
    run = next(run for run in tiny_sweep.runs_of(config, *flags) if "@" in run.row)
    workdirs.write_config(copied / run.name, run.config, "", identify(run.config, Cache()))
    shutil.copy(copied / tiny_sweep.names()[0] / "results.json", copied / run.name)
    sys.modules.pop("config_config", None)
    assert main(tiny_sweep.command(config, copied, *flags)) == 0
    assert f"evaluated on other rows than {tiny_sweep.names()[0]}: " in caplog.text
    assert len(tried) == 1  # its other seed
    with (copied / "results.csv").open() as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"l2-mbp"}


def test_runs_of_an_earlier_version_count_and_that_is_said(folder, config, tmp_path, caplog, tried):
    copied = tiny.copy(folder, tmp_path / "sweep")
    for name in tiny_sweep.names():
        path = copied / name / "config.json"
        content = json.loads(path.read_text())
        del content["inputs"]
        path.write_text(json.dumps(content))
    with caplog.at_level(logging.INFO):
        assert main(tiny_sweep.command(config, copied)) == 0
    assert "6 runs are of an earlier version" in caplog.text
    assert tried == []
    assert (copied / "results.csv").read_bytes() == (folder / "results.csv").read_bytes()


def test_another_sweep_in_the_folder(folder, config, capsys):
    flags = ["--config.base.train.batch_size=16"]
    assert main(tiny_sweep.command(config, folder, *flags)) == 2
    assert "base.train.batch_size (8 -> 16)" in capsys.readouterr().err


# ---- A kill -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_and_started_again(folder, config, tmp_path, caplog):
    """The runs that were done stay as they were, the one in progress goes on."""
    copied = tiny.copy(folder, tmp_path / "sweep")
    workdir = copied / "folder/random/s1"
    shutil.rmtree(workdir)
    others = snapshot(copied / "folder")
    command = tiny_sweep.command(config, copied)
    process = tiny_sweep.start(command)
    while not any(event["phase"] == 1 for event in tiny.events(workdir)):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert member.finished(workdir) is None
    with caplog.at_level(logging.INFO):
        assert main(command) == 0
    assert "5 of 6 runs are already complete" in caplog.text
    assert "run 5/6 folder random s1" in caplog.text
    assert "continuing from step" in caplog.text
    assert member.finished(workdir)
    assert {path: path.stat().st_mtime_ns for path in others} == others
    events = tiny.events(workdir)
    assert [event["n"] for event in events] == list(range(len(events)))
    steps = [event["step"] for event in events if event["kind"] == "train"]
    assert steps == sorted(set(steps))
    assert not (copied / "dense").exists()
