"""When to save, and saving while the run trains on."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from test_checkpointing import START, restored, tree
from training_cases import LENGTH, batches, make_trainer

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.errors import UserError
from alignreg_jax.support import processes
from alignreg_jax.support.termination import Terminated
from alignreg_jax.training import checkpointing
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.saving import SaveClock, Saver


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def saves(minutes, steps, seconds, rates):
    """The steps at which a run saves whose steps take so long; and how often it was asked."""
    time, found, asked = Time(), [], 0
    clock = SaveClock(float(minutes), steps, time)
    decide = processes.decide

    def counting(find, size=1):
        nonlocal asked
        asked += 1
        return decide(find, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "decide", counting)
        for step in range(1, seconds):
            time.now += rates(step)
            if clock.due(step):
                found.append(step)
                clock.saved(step)
    return found, asked


def test_by_time_after_so_many_minutes_whatever_a_step_takes():
    assert saves(10, 0, 2000, lambda step: 1.0)[0] == [600, 1200, 1800]
    # The first step compiles for five minutes; later ones take an eighth of a second
    found, asked = saves(10, 0, 20_000, lambda step: 300 if step == 1 else 0.125)
    assert found == [2401, 7201, 12_001, 16_801]
    assert asked < 200  # of 20,000: processes agree on it, which costs: not in every step
    # Steps that become five times slower, as with longer rows: late, but not by much
    (first, *_), _ = saves(10, 0, 5000, lambda step: 0.2 if step < 1500 else 1.0)
    assert 1800 <= first < 2100


def test_by_steps_and_by_neither():
    assert saves(0, 7, 30, lambda step: 1.0) == ([7, 14, 21, 28], 0)
    assert saves(10, 250, 1000, lambda step: 1.0)[0] == [250, 500, 750]
    assert saves(0, 0, 10_000, lambda step: 60.0) == ([], 0)


class Late:
    """Orbax, but that it begins to write only when it is told that the run has gone on."""

    def __init__(self, monkeypatch):
        self.go_on = threading.Event()
        write = checkpointing.ocp.save_async

        def save_async(path, state):
            def result():
                assert self.go_on.wait(60)
                write(path, state).result()

            return SimpleNamespace(result=result)

        monkeypatch.setattr(checkpointing.ocp, "save_async", save_async)


def numbers(state):
    """Parameters and moments on the host."""
    return jax.tree.map(np.array, jax.device_get((state.params, state.optimizer)))


@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=["alone", "side by side"])
def test_what_is_saved_is_the_state_of_that_moment(tmp_path, monkeypatch, seeds):
    """The steps that follow take its buffers over while it is still to be written."""
    late = Late(monkeypatch)
    trainer = make_trainer(seeds=seeds)
    parts = [Dispatch(LENGTH, batches(0, 2))] * len(seeds)
    trainer.dispatch(*parts)
    expected = [numbers(trainer.member(index)[0]) for index in range(len(seeds))]
    runs = [Checkpoints(tmp_path / f"{seed}", 2) for seed in seeds]
    with Saver() as saver:
        saver.start(
            (run, {"state": trainer.snapshot(index)[0]}, START) for index, run in enumerate(runs)
        )
        for _ in range(3):
            trainer.dispatch(*parts)
            saver.look()
        jax.block_until_ready(trainer.state.params)
        assert [run.newest() for run in runs] == [None] * len(seeds)  # committed last
        late.go_on.set()
    for index, run in enumerate(runs):
        found, position = run.restore(lambda position: {"state": trainer.abstract})
        assert position == START
        jax.tree.map(np.testing.assert_array_equal, numbers(found["state"]), expected[index])
        now = numbers(trainer.member(index)[0])
        moved = jax.tree.map(lambda ours, theirs: np.any(ours != theirs), now, expected[index])
        assert any(jax.tree.leaves(moved))  # or this would show nothing


def test_one_save_at_a_time(tmp_path, monkeypatch):
    late = Late(monkeypatch)
    checkpoints = Checkpoints(tmp_path, 2)
    with Saver() as saver:
        saver.start([(checkpoints, tree(10), replace(START, step=10))])
        threading.Timer(0.2, late.go_on.set).start()
        saver.start([(checkpoints, tree(20), replace(START, step=20))])
        assert [position.step for position in Checkpoints(tmp_path, 2).sound()] == [10]
    assert restored(tmp_path) == 20


def full(monkeypatch):
    """As orbax says it of a disk that fills up while it writes."""
    save_async = checkpointing.ocp.save_async

    def failing(path, state):
        writing = save_async(path, state)

        def result():
            writing.result()
            raise ValueError(
                f'RESOURCE_EXHAUSTED: Failed writing: "{path}/state/d/1": Failed to write 9 bytes'
                " to file 13: No space left on device [os_error_code='28']"
            )

        return SimpleNamespace(result=result)

    monkeypatch.setattr(checkpointing.ocp, "save_async", failing)


def test_a_full_disk_is_one_line_and_leaves_what_was_saved(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, 2)
    checkpoints.save(tree(10), replace(START, step=10))
    before = sorted(folder.rglob("*"))
    full(monkeypatch)
    line = (
        f"{folder}: No space left on device to write this, which needs 0.1 MB; make room there,"
        " and the same command continues"
    )
    for find_out in (Saver.wait, lambda saver: wait_for(saver.look)):
        saver = Saver()
        saver.start([(checkpoints, tree(20), replace(START, step=20))])
        with pytest.raises(UserError) as caught:
            find_out(saver)
        assert str(caught.value) == line
        saver.wait()  # said once
        assert sorted(folder.rglob("*")) == before  # and the disk has room for a smaller thing
    assert restored(folder) == 10


def wait_for(look):
    while True:
        look()
        time.sleep(0.01)


def stopped(saver, *saves):
    with saver:
        saver.start(saves)
        raise Terminated


def test_what_stops_a_run_waits_for_its_last_save(tmp_path, monkeypatch, caplog):
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    with pytest.raises(Terminated):
        stopped(Saver(), (checkpoints, tree(10), replace(START, step=10)))
    assert restored(tmp_path / "checkpoints") == 10
    full(monkeypatch)
    with pytest.raises(Terminated):
        stopped(Saver(), (checkpoints, tree(20), replace(START, step=20)))
    assert "the last save failed" in caplog.text
    assert restored(tmp_path / "checkpoints") == 10
