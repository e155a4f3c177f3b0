"""Seeds side by side, killed at every moment of a save and started again with other seeds.

The disk operations and the bookkeeping are the real ones; orbax is replaced by a file, and the
training by one event a step.
"""

import itertools
import json
import shutil
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tracking import Tracker
from alignreg_jax.run.member import Member
from alignreg_jax.training import checkpointing, manifests
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.companions import common, companions
from alignreg_jax.training.manifests import Position, problem
from alignreg_jax.training.saving import Saver

STEPS = 6
FIRST = (0, 1)  # the seeds of the first start; then more, fewer, others
CHOICES = ((0, 1), (0, 1, 2), (0,), (1,), (1, 2))


class Killed(BaseException):
    """As kill -9: nothing is done afterwards, also not by other threads."""


class Machine:
    """Counts the moments at which a process can be killed, and kills it at one of them."""

    def __init__(self, patch):
        self.start(None)

        def mortal(work):
            def inside(*arguments, **named):
                self.moment()
                found = work(*arguments, **named)
                self.moment()
                return found

            return inside

        @mortal
        def save_async(path, tree):
            folder = checkpointing.Path(path)
            folder.mkdir()
            self.moment()
            content = {name: int(value) for name, value in tree.items()}
            (folder / "tree.json").write_text(json.dumps(content))
            return SimpleNamespace(result=self.moment)

        def load(path, abstract):
            return json.loads((checkpointing.Path(path) / "tree.json").read_text())

        def rmtree(path, **options):
            self.moment()
            for file in checkpointing.Path(path).rglob("*"):
                file.unlink()
            self.moment()
            remove(path, **options)

        self.rmtree = remove = shutil.rmtree
        patch.setattr(checkpointing.ocp, "save_async", save_async)
        patch.setattr(checkpointing.ocp, "load", load)
        patch.setattr(checkpointing.shutil, "rmtree", rmtree)
        patch.setattr(checkpointing, "commit", mortal(checkpointing.commit))
        patch.setattr(checkpointing, "_discard", mortal(checkpointing._discard))
        patch.setattr(checkpointing, "atomic_write", mortal(checkpointing.atomic_write))
        patch.setattr(manifests, "atomic_write", mortal(manifests.atomic_write))
        patch.setattr(checkpointing.Save, "abandon", lambda save: None)
        patch.setattr("os.fsync", lambda descriptor: None)

    def start(self, kill_at):
        self.moments, self._kill_at = 0, kill_at

    def moment(self):
        self.moments += 1
        if self._kill_at is not None and self.moments > self._kill_at:
            raise Killed


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def checkpoints(parent, seed):
    return Checkpoints(parent / f"s{seed}" / "checkpoints", keep=2)


def tree(seed, step):
    return {"seed": np.int32(seed), "step": np.int32(step)}


def session(parent, seeds, every):
    """What an experiment does of saving, going back and telling; a save every so many steps."""
    runs = {seed: checkpoints(parent, seed) for seed in seeds}
    for group in companions(runs):
        place = common({seed: runs[seed] for seed in group})
        members, positions = [], set()
        for seed in group:
            workdir = parent / f"s{seed}"
            workdir.mkdir(exist_ok=True)
            found = runs[seed].restore(lambda position: None, place)
            position = found[1] if found else Position.start_of(0)
            assert found is None or found[0] == {"seed": seed, "step": position.step}
            tracker = Tracker(workdir)
            member = SimpleNamespace(checkpoints=runs[seed], tracker=tracker, workdir=workdir)
            Member.go_back(member, position)
            members.append((seed, tracker))
            positions.add(position.place)
        ((_, _, start, _),) = positions  # or they would train different things side by side
        with ExitStack() as held:
            for _, tracker in members:
                held.enter_context(tracker)
            saver = held.enter_context(Saver())
            for step in range(start + 1, STEPS + 1):
                for seed, tracker in members:
                    tracker.log("train", step=step, phase=0, remaining=1.0, seed=seed)
                if step % every == 0 or step == STEPS:
                    saver.start(
                        (
                            runs[seed],
                            tree(seed, step),
                            Position(step, 0, 0, step, tracker.position, 1.0),
                        )
                        for seed, tracker in members
                    )
                    saver.wait()


def best(parent):
    """Of every seed the furthest sound checkpoint, looked at without any bookkeeping."""
    found = {}
    for seed in range(3):
        for manifest in (parent / f"s{seed}" / "checkpoints").glob("*.json"):
            if problem(manifest.with_suffix("")) is None:
                step = json.loads(manifest.read_text())["position"]["step"]
                found[seed] = max(found.get(seed, 0), step)
    return found


def check_kept(before, parent):
    after = best(parent)
    for seed, step in before.items():
        assert after.get(seed, 0) >= step, (before, after)


def killed(machine, moment, *arguments):
    """Run a session up to a moment; whether it was still alive then."""
    machine.start(moment)
    try:
        session(*arguments)
    except Killed:
        return True
    return False


def moments_of(machine, *arguments):
    machine.start(None)
    session(*arguments)
    return machine.moments


def starts():
    """The seeds and the saves of the second and the third start."""
    every = itertools.cycle((3, 2, 1))
    for second, third in itertools.product(CHOICES, CHOICES):
        yield second, third, next(every)


def test_no_kill_and_no_choice_of_seeds_loses_a_sound_checkpoint(machine, tmp_path):
    """Every moment of the first start; of the second a few; the third one ends by itself."""
    whole = tmp_path / "whole"
    whole.mkdir()
    moments = moments_of(machine, whole, FIRST, 2)
    assert moments > 50
    second_kills = itertools.cycle((2, 9, 23, 31, 44, 60))
    behind = 0
    for moment in range(1, moments, 3):
        first = tmp_path / f"{moment}"
        first.mkdir()
        assert killed(machine, moment, first, FIRST, 2)
        for second, third, every in itertools.islice(starts(), moment % 10, None, 10):
            parent = shutil.copytree(first, tmp_path / "case")
            before = best(parent)
            behind += len(set(before.values())) > 1
            killed(machine, next(second_kills), parent, second, every)
            check_kept(before, parent)
            before = best(parent)
            assert not killed(machine, None, parent, third, 2)
            check_kept(before, parent)
            assert all(best(parent)[seed] == STEPS for seed in third)
            # What was not among the last seeds goes on from its own newest one, with its history
            left = best(parent)
            for seed in left:
                _, position = checkpoints(parent, seed).restore(lambda position: None)
                assert position.step == left[seed]
                session(parent, (seed,), 2)
                lines = (parent / f"s{seed}" / "metrics.jsonl").read_text().splitlines()
                events = [json.loads(line) for line in lines]
                assert [event["step"] for event in events] == list(range(1, STEPS + 1))
                assert {event["seed"] for event in events} == {seed}
            assert not list(parent.glob("s*/checkpoints/*tmp*"))
            machine.rmtree(parent)
    assert behind > 5  # the kill came between the saves of two seeds


def save(parent, seed, *steps):
    runs = checkpoints(parent, seed)
    for step in steps:
        runs.save(tree(seed, step), Position(step, 0, 0, step, step, 1.0))
    return runs


def test_one_that_is_ahead_keeps_its_checkpoint_until_the_run_has_passed_it(machine, tmp_path):
    ahead, behind = save(tmp_path, 0, 1, 2, 4), save(tmp_path, 1, 1, 2)
    place = common({0: ahead, 1: behind})
    assert place == (0, 0, 2, False)
    _, position = ahead.restore(lambda position: None, place)
    assert position.step == 2
    steps = []
    for step in (3, 5, 6):
        ahead.save(tree(0, step), Position(step, 0, 0, step, step, 1.0))
        steps.append([position.step for position in checkpoints(tmp_path, 0).sound()])
    assert steps == [[4, 3, 2], [5, 4], [6, 5]]


def test_seeds_without_a_checkpoint_in_common_go_on_apart(machine, tmp_path):
    save(tmp_path, 0, 2, 3)
    save(tmp_path, 1, 3, 4)
    save(tmp_path, 2, 1)
    runs = {seed: checkpoints(tmp_path, seed) for seed in range(5)}
    assert companions(runs) == [[0, 1], [2], [3, 4]]


def test_where_damage_leaves_nothing_in_common_a_line_says_what_to_type(machine, tmp_path):
    """Manifests look alike; what they promise does not hold."""
    runs = {0: save(tmp_path, 0, 1, 2), 1: save(tmp_path, 1, 2, 3)}
    (tmp_path / "s0" / "checkpoints" / "000001" / "tree.json").write_text("spoilt")
    assert companions(runs) == [[0, 1]]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        common(runs)
    one, other = tmp_path / "s0", tmp_path / "s1"
    assert str(caught.value) == (
        f"no checkpoint is common to {one} (step 1), {other} (step 3): these seeds cannot go on"
        " side by side, and nothing was changed; run each by itself first:"
        f" --config.seeds=1 --config.seed=0 --workdir={one},"
        f" then --config.seeds=1 --config.seed=1 --workdir={other}"
    )
    assert sorted(tmp_path.rglob("*")) == before
