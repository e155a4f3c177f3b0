"""A run that is killed, again and again, ends with the bits of one that was left alone."""

import json
import time

import kills
import numpy as np
import pytest
import tiny

# Draws its gates from keys, and cuts halfway through a phase, which dispatches of several steps
# must not cross
GATES = (
    "--config.method=l0",
    "--config.checkpoint.every_steps=1",
    "--config.train.steps_per_dispatch=5",
)
OPEN = 1 / (1 + np.exp(-2.4 - 2 / 3 * np.log(11)))  # that a new gate is open


@pytest.fixture(scope="module")
def uninterrupted(world, tmp_path_factory):
    """The workdir of a run of the real program that nobody touched."""
    workdir = tmp_path_factory.mktemp("frobenius") / "run"
    code, _, errors = tiny.run(tiny.command(world, workdir, arg="variant"))
    assert code == 0, errors
    return workdir


@pytest.fixture(scope="module")
def gates(mixed_world, tmp_path_factory):
    """The configuration with gates, and the workdir of a run that nobody touched."""
    config, workdir = tiny.configured(mixed_world, *GATES), tmp_path_factory.mktemp("gates") / "run"
    kills.run(config, workdir)
    return config, workdir


def kinds(workdir):
    return [event["kind"] for event in tiny.events(workdir)]


def trained(workdir, dispatches):
    return kinds(workdir).count("train") >= dispatches


def saving(workdir):
    """Orbax is writing, or the manifest that commits it is not there yet."""
    names = {path.name for path in workdir.glob("checkpoints/*")}
    return any("tmp" in name or (name.isdigit() and f"{name}.json" not in names) for name in names)


def after(number):
    """Right after a pruning step: the event is written, its training has not ended."""
    return lambda workdir: kinds(workdir).count("prune") >= number


def predicted(workdir):
    """Some files of an evaluation are written, its event is not."""
    return any(workdir.glob("predictions/1/*"))


def exporting(workdir):
    return any(workdir.glob(".export.partial.*")) or (workdir / "masks.npz").exists()


def kill_when(process, workdir, moment):
    """Wait for a moment in the life of a run, then kill it; False if it ended before."""
    while process.poll() is None:
        try:
            if moment(workdir):
                break
        except FileNotFoundError:  # renamed or dropped while we looked
            continue
        time.sleep(0.002)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


def told(workdir):
    """Events without what a clock says."""
    events = tiny.events(workdir)
    return [{k: v for k, v in event.items() if k != "examples_per_second"} for event in events]


def check(workdir, expected):
    assert tiny.outcome(workdir) == tiny.outcome(expected)
    assert told(workdir) == told(expected)
    events = told(workdir)
    assert [event["n"] for event in events] == list(range(len(events)))
    trained = [event["step"] for event in events if event["kind"] == "train"]
    assert trained == sorted(set(trained))
    assert [path.name for path in workdir.rglob(".*")] == [".lock"]  # no half-written files
    numbers = {path.name.split(".")[0] for path in workdir.glob("checkpoints/*")}
    assert len(numbers) == 2  # checkpoint.keep


def terminated(process, workdir):
    """SIGTERM in training, as before a preemption: all that was trained is saved first."""
    while process.poll() is None and not trained(workdir, 2):
        time.sleep(0.002)
    process.terminate()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("terminated; the same command continues")
    steps = [event["step"] for event in tiny.events(workdir) if event["kind"] == "train"]
    (manifest,) = (workdir / "checkpoints").glob("*.json")
    assert json.loads(manifest.read_text())["position"]["step"] == steps[-1] < 10


@pytest.mark.slow
def test_stopped_and_killed_at_the_worst_moments(world, uninterrupted, tmp_path):
    """Again and again in one folder; no step is recorded twice (`check`)."""
    workdir = tmp_path / "run"
    command = tiny.command(world, workdir, arg="variant")
    terminated(tiny.start([*command, "--config.checkpoint.every_steps=1000"]), workdir)
    moments = [predicted, exporting]  # while saving: test_checkpointing.py, test_seeds.py
    killed = [kill_when(tiny.start(command), workdir, moment) for moment in moments]
    assert sum(killed) >= len(moments) - 1, killed
    code, _, errors = tiny.run(command)
    assert code == 0, errors
    check(workdir, uninterrupted)


def saved_past(step):
    """A checkpoint of the middle of a phase is committed."""

    def moment(workdir):
        manifests = [path.read_text() for path in workdir.glob("checkpoints/*.json")]
        return any(json.loads(text)["position"]["step"] > step for text in manifests if text)

    return moment


def test_killed_around_a_cut_halfway_through_a_phase(gates, tmp_path):
    """The newest checkpoint is of before the cut, which is made again, or of after it: not so."""
    config, expected = gates
    workdir = tmp_path / "run"
    kills.run(config, workdir, [after(1), saved_past(12)])
    check(workdir, expected)


def test_gates_learn_up_to_a_cut_halfway_through_its_phase(gates):
    """In the first two of five steps; then, as before the first phase with a cut, nothing does."""
    events = tiny.events(gates[1])
    order = [event["kind"] for event in events if event["kind"] != "train"]
    assert order == ["eval", *["prune", "eval"] * 2]
    lefts = (1.0, 0.5**0.5, 0.5)
    for phase, left in enumerate(lefts):
        of_phase = [event for event in events if event["phase"] == phase]
        cut = [event["kind"] for event in of_phase].index("prune") if phase else 0
        learning = of_phase[:cut]
        still = [event for event in of_phase[cut:] if event["kind"] == "train"]
        assert [event["step"] for event in learning[-1:]] == ([7 + 5 * phase] if phase else [])
        assert still[-1]["step"] == 10 + 5 * phase
        assert all(event["penalty"] != 0 for event in learning)
        assert all(event["penalty"] == 0 for event in still)
        # All gates are open at the start of a phase, move, and are open again after its cut
        shares = [event["open_gates"] / lefts[max(phase - 1, 0)] for event in learning]
        assert shares == sorted(shares, reverse=True)
        assert all(share < OPEN - 1e-3 for share in shares[1:])
        for event in still:
            assert event["open_gates"] == pytest.approx(OPEN * left, rel=1e-3)
        for event in learning:
            assert event["remaining"] == pytest.approx(lefts[phase - 1])
        for event in still:
            assert event["remaining"] == pytest.approx(left)
        targets = [event["open_gates_target"] for event in (*learning, *still)]
        np.testing.assert_allclose(targets, left, rtol=1e-6)
        assert of_phase[-1]["remaining"] == pytest.approx(left, abs=1e-3)


@pytest.mark.slow
def test_damaged_newest_checkpoint(world, uninterrupted, tmp_path):
    """One byte off in the newest: the one before is used, that is said, the bits are the same."""
    workdir = tiny.copy(uninterrupted, tmp_path / "run")
    (workdir / "results.json").unlink()
    command = tiny.command(world, workdir, arg="variant")
    older, newest = sorted((workdir / "checkpoints").glob("*.json"))
    path = max(
        (path for path in newest.with_suffix("").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    manifest = older.read_bytes()
    step = json.loads(manifest)["position"]["step"]
    older.write_bytes(manifest.replace(b'"step": %d' % step, b'"step": %d' % (step - 1)))

    code, out, errors = tiny.run(command)
    assert code == 2
    assert out == ""
    assert errors.splitlines()[-1].startswith("error: ")
    assert "every checkpoint is damaged" in errors.splitlines()[-1]
    assert {older, newest} <= set((workdir / "checkpoints").iterdir())

    older.write_bytes(manifest)
    code, _, errors = tiny.run(command)
    assert code == 0, errors
    assert f"checkpoint {newest.stem} is damaged: " in errors
    assert f"continuing from step {step} " in errors
    check(workdir, uninterrupted)
