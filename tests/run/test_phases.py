"""When a run cuts, and what the train step is told of it."""

import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.run.phases import Phases


def phases(epochs=3, steps=5, last=2):
    return Phases(last, 2, epochs, steps, lambda phase: 0.5**phase)


def test_cuts_come_first_or_halfway():
    cuts = phases().cut_step
    assert [cuts(phase, halfway=False) for phase in range(3)] == [0, 10, 25]
    assert [cuts(phase, halfway=True) for phase in range(3)] == [0, 17, 32]
    assert phases().total_steps == 40


@pytest.mark.parametrize(
    ("phase", "halfway", "cut_ahead", "expected"),
    [
        (0, False, False, (1.0, 1.0, 0)),
        (1, False, True, (0.5, 0.5, 0)),  # made before anything trains
        (2, False, False, (0.25, 0.25, 0)),
        (0, True, False, (1.0, 1.0, 0)),
        (1, True, True, (1.0, 0.5, 10)),
        (1, True, False, (0.5, 0.5, 10)),
        (2, True, True, (0.5, 0.25, 25)),
        (2, True, False, (0.25, 0.25, 25)),
    ],
)
def test_what_remains_what_is_aimed_at_and_since_when(phase, halfway, cut_ahead, expected):
    assert phases().clock(phase, halfway=halfway, cut_ahead=cut_ahead) == expected


def test_a_half_needs_a_step():
    phases(epochs=1, steps=2).check_halves()
    phases(epochs=0, last=0).check_halves()  # never cuts
    for short in (phases(epochs=1, steps=1), phases(epochs=0)):
        with pytest.raises(UserError, match=r"^pruning\.epochs_per_step=\d: gates are learned in"):
            short.check_halves()
