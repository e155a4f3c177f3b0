"""The copy in a bucket can be continued from at every moment of every save."""

import random
import shutil
from pathlib import Path

import fake_cloud
import fake_program
import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tracking import Tracker, read_events
from alignreg_jax.training import manifests

URL = "gs://mine/run/workdir"
SENDING = 4  # calls of gcloud in a save


def train(workdir, first, last):
    """Steps of a run, with a checkpoint after every second one."""
    (workdir / "checkpoints").mkdir(parents=True, exist_ok=True)
    if not (workdir / "config.json").exists():
        (workdir / "config.json").write_text("{}")
    for step in range(first, last + 1):
        with (workdir / "metrics.jsonl").open("a") as file:
            file.write(f'{{"n": {step - 1}, "step": {step}}}\n')
        # Longer each time: of the same length in the same second, gcloud would take it for the same
        (workdir / "results.csv").write_text("one more step\n" * step)
        if step % 2 == 0:
            fake_program.save(workdir / "checkpoints", step)


def finish(workdir):
    (workdir / "export").mkdir()
    (workdir / "export" / "config.json").write_text("the model")
    (workdir / "results.json").write_text('{"finished": true}')


def continued_at(workdir):
    """The step at which the program would go on in a copy of a run; UserError if it would not."""
    there = fake_cloud.tree(workdir)
    if there and "config.json" not in there:
        raise UserError("not empty and holds no run")
    if "results.json" in there and "export/config.json" not in there:
        raise UserError("taken for complete, and has no model")
    committed = sorted((workdir / "checkpoints").glob("*.json"), reverse=True)
    for manifest in committed:
        if manifests.problem(manifest.with_suffix("")) is None:
            position = manifests.position_of(manifest.with_suffix(""))
            if len(read_events(workdir / "metrics.jsonl")) < position.events:
                raise UserError("the history is shorter than the checkpoint knows")
            return position.step
    if committed:
        raise UserError("every checkpoint is damaged")
    return 0


class Run:
    """A workdir and its copy."""

    def __init__(self, desk, cloud):
        self.desk, self.cloud = desk, cloud
        self.workdir = desk.folder / "job" / "workdir"
        self.copy = cloud.buckets / "mine" / "run" / "workdir"

    def before_every_cp(self, happens):
        """So that something happens while a snapshot is taken."""
        real = shutil.which("cp")
        self.desk.command("cp", f'{fake_cloud.CLIENT}ask meanwhile\nexec {real} "$@"')
        self.cloud.meanwhile = happens

    def save(self):
        return self.desk.run("sync.sh", self.workdir, self.desk.folder / "job" / "snapshot", URL)


@pytest.fixture
def run(desk, cloud):
    return Run(desk, cloud)


def contents(folder):
    """Every file."""
    return {name: path.read_bytes() for name, path in fake_cloud.tree(folder).items()}


def test_every_moment_of_a_save_can_be_continued_from_in_whatever_order_gcloud_works(run):
    train(run.workdir, 1, 4)
    assert run.save().returncode == 0
    before = contents(run.copy)
    first = len(run.cloud.journal)
    train(run.workdir, 5, 9)
    finish(run.workdir)
    assert run.save().returncode == 0
    calls = {}
    for call, path, content in run.cloud.journal[first:]:
        calls.setdefault(call, []).append((path.removeprefix("mine/run/workdir/"), content))
    assert len(calls) == SENDING - 1  # config.json was there
    copy = run.desk.folder / "replayed"
    seen = set()
    for seed in range(5):
        shutil.rmtree(copy, ignore_errors=True)
        for name, content in before.items():
            change(copy / name, content)
        for changes in calls.values():
            for name, content in random.Random(seed).sample(changes, len(changes)):
                change(copy / name, content)
                seen.add(continued_at(copy))
    assert seen == {4, 6, 8}


def change(path, content):
    if content is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("calls", range(SENDING))
def test_a_save_that_is_killed_before_a_call_of_gcloud_does_no_harm(run, calls):
    run.cloud.kill_at = calls
    train(run.workdir, 1, 4)
    assert run.save().returncode != 0
    assert continued_at(run.copy) == (4 if calls == 3 else 0)
    run.cloud.kill_at = None
    run.save()
    train(run.workdir, 5, 8)
    run.cloud.kill_at = len(run.cloud.calls) + calls
    assert run.save().returncode != 0
    assert continued_at(run.copy) == (8 if calls == 3 else 4)
    run.cloud.kill_at = None
    assert run.save().returncode == 0
    assert contents(run.copy) == contents(run.workdir)


def test_the_program_may_go_on_while_it_is_saved(run):
    train(run.workdir, 1, 4)
    steps = iter(range(5, 99, 3))

    def train_on():
        step = next(steps)
        train(run.workdir, step, step + 2)

    run.cloud.meanwhile = train_on
    for saved in (4, 16, 28):
        assert run.save().returncode == 0
        assert continued_at(run.copy) == saved


@pytest.mark.parametrize("last", [6, 10, 14, 18, 22])
def test_the_program_may_go_on_and_end_while_the_snapshot_is_taken(run, last):
    """Before every `cp` it trains two steps: there is a new checkpoint, and an old one is gone."""
    train(run.workdir, 1, 4)
    run.save()
    steps = iter(range(5, last, 2))

    def train_on():
        if step := next(steps, None):
            train(run.workdir, step, step + 1)
        elif not (run.workdir / "results.json").exists():
            finish(run.workdir)

    run.before_every_cp(train_on)
    before = 4
    while not (run.copy / "results.json").exists():
        run.save()
        assert continued_at(run.copy) >= before
        before = continued_at(run.copy)
    assert continued_at(run.copy) == last


def test_a_checkpoint_that_is_being_deleted_is_not_taken(run):
    train(run.workdir, 1, 4)
    checkpoint = run.workdir / "checkpoints" / "000000"
    calls = iter(range(99))

    def delete_half():
        if next(calls) == 1:  # after the manifests were taken, before the folders are
            checkpoint.with_suffix(".json").unlink()
            (checkpoint / "weights").unlink()

    run.before_every_cp(delete_half)
    assert run.save().returncode == 0
    assert [path.name for path in (run.copy / "checkpoints").glob("*.json")] == ["000001.json"]


def test_a_run_that_goes_back_is_saved_when_it_is_there_again(run):
    train(run.workdir, 1, 8)
    run.save()
    shutil.rmtree(run.workdir / "checkpoints" / "000003")  # what the program does if it is damaged
    (run.workdir / "checkpoints" / "000003.json").unlink()
    with Tracker(run.workdir) as tracker:
        tracker.cut_back(6)
    before = contents(run.copy)
    for _ in range(2):
        waiting = run.save()
        assert waiting.returncode == 1
        assert "not saved this time" in waiting.stderr
        assert contents(run.copy) == before
    train(run.workdir, 7, 8)
    assert run.save().returncode == 0
    assert continued_at(run.copy) == 8


def test_a_history_that_is_shorter_than_a_checkpoint_knows_is_not_sent(run):
    train(run.workdir, 1, 4)
    (run.workdir / "metrics.jsonl").write_text('{"n": 0}\n')
    waiting = run.save()
    assert waiting.returncode == 1
    assert "has seen 2 events, metrics.jsonl has 1" in waiting.stderr
    assert run.cloud.calls == []


def test_locks_unfinished_files_and_unfinished_checkpoints_stay(run):
    train(run.workdir, 1, 4)
    checkpoints = run.workdir / "checkpoints"
    unfinished = (".000009.json.a1b2c3d4", "000009/d", "000009.orbax-checkpoint-tmp-1/d")
    for name in (".lock", ".results.csv.a1b2c3d4", *(f"checkpoints/{name}" for name in unfinished)):
        (run.workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (run.workdir / name).write_text("unfinished")
    run.save()
    there = set(fake_cloud.tree(run.copy))
    assert not [name for name in there if ".lock" in name or "9" in name or "a1b2" in name]
    assert {f"checkpoints/{path.name}" for path in checkpoints.glob("00000[01].json")} <= there


def test_nothing_is_sent_before_there_is_a_run(run):
    assert run.save().returncode == 0
    (run.workdir).mkdir(parents=True)
    (run.workdir / ".lock").touch()
    assert run.save().returncode == 0
    assert run.cloud.calls == []


def test_seeds_side_by_side_are_saved(run):
    for seed in ("s0", "s1"):
        train(run.workdir / seed, 1, 4)
    assert run.save().returncode == 0
    assert contents(run.copy) == contents(run.workdir)
    assert [continued_at(run.copy / seed) for seed in ("s0", "s1")] == [4, 4]


def test_a_sweep_is_saved_run_by_run(run):
    runs = ("intents/l2-mbp/s0", "intents/cosine-mbp/s1")
    for name in runs:
        train(run.workdir / name, 1, 4)
    finish(run.workdir / runs[0])
    for name in ("phase-0/checkpoint/weights", "phase-0/metrics.jsonl", "phase-0.json"):
        (run.workdir / "dense" / "key" / name).parent.mkdir(parents=True, exist_ok=True)
        (run.workdir / "dense" / "key" / name).write_text(name)
    (run.workdir / "dense" / ".other.a1b2c3d4").mkdir()
    (run.workdir / "sweep.json").write_text("{}")
    assert run.save().returncode == 0
    assert contents(run.copy) == contents(run.workdir)
    order = [Path(path).name for _, path, _ in run.cloud.journal]
    assert set(order[:3]) == {"sweep.json", "config.json"}
    assert set(order[-5:]) == {"results.json", "000000.json", "000001.json"}
    # A run that is done may drop its checkpoints, and the sweep its dense phases
    shutil.rmtree(run.workdir / runs[0] / "checkpoints")
    shutil.rmtree(run.workdir / "dense")
    assert run.save().returncode == 0
    assert contents(run.copy) == contents(run.workdir)
