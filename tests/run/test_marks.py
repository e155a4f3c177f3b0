"""How many weights stay in each step of learned masks."""

import pytest

from alignreg_jax.run.marks import of_steps
from alignreg_jax.run.plan import Phases, Train

# 10 dense steps, then two phases of 20: to a half, to a quarter
PHASES = Phases(2, 2, 4, 5, lambda phase: 0.5**phase)
FIRST = Train(1, 10, 30, remaining=1.0, target=0.5, learn=True)
SECOND = Train(2, 30, 50, remaining=0.5, target=0.25, learn=True)


def marks(event, *, warmup=0.0, cooldown=0.0):
    return of_steps(
        event, PHASES, event.first, 20, warmup=warmup, cooldown=cooldown, keep=lambda left: left
    )


def test_the_count_falls_by_the_published_cubic_and_stands_still_in_the_end():
    kept = [mark.keep for mark in marks(FIRST, warmup=0.1, cooldown=0.3)]
    # 2 steps of warm-up, 12 of pruning, 6 of cool-down
    published = [0.5 + 0.5 * (1 - (step - 2) / 12) ** 3 for step in range(3, 15)]
    assert kept == pytest.approx([1.0, 1.0, *published, *[0.5] * 6])


def test_only_the_first_phase_warms_up():
    kept = [mark.keep for mark in marks(SECOND, warmup=0.5)]
    assert kept == pytest.approx([0.25 + 0.25 * (1 - step / 20) ** 3 for step in range(1, 21)])


def test_a_threshold_grows_over_all_of_learning():
    found = marks(FIRST, warmup=0.1, cooldown=0.3) + marks(SECOND, warmup=0.1, cooldown=0.3)
    assert [int(mark.learned) for mark in found] == list(range(40))
    assert [float(mark.progress) for mark in found] == pytest.approx(
        [step / 40 for step in range(1, 41)]
    )
    # 40 steps: 4 of warm-up, 24, 12 of cool-down
    growing = [1 - (1 - (step - 4) / 24) ** 3 for step in range(5, 29)]
    assert [float(mark.ramp) for mark in found] == pytest.approx([0.0] * 4 + growing + [1.0] * 12)
