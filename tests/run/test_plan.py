"""What a run does, in order, and what is left of it after a checkpoint."""

import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.run.plan import Anchor, Cut, Evaluate, Phases, Train, events, left


def phases(epochs=3, steps=5, last=2):
    return Phases(last, 2, epochs, steps, lambda phase: 0.5**phase)


def test_cuts_come_at_a_share_of_their_phase():
    cuts = phases().cut_step
    assert [cuts(phase, 0.0) for phase in range(3)] == [0, 10, 25]
    assert [cuts(phase, 0.5) for phase in range(3)] == [0, 17, 32]
    assert [cuts(phase, 1.0) for phase in range(3)] == [0, 25, 40]
    assert phases().total_steps == 40


def test_the_papers_run():
    assert events(phases(), cut_at=0.0) == [
        Train(0, 0, 10, remaining=1.0, target=1.0),
        Evaluate(0),
        Cut(1, 10, 0.5),
        Train(1, 10, 25, remaining=0.5, target=0.5),
        Evaluate(1),
        Cut(2, 25, 0.25),
        Train(2, 25, 40, remaining=0.25, target=0.25),
        Evaluate(2),
    ]


def test_a_method_that_learns_trains_for_its_cut_first():
    """L0: half of a phase before the cut, half after it."""
    _, _, *later = events(phases(), cut_at=0.5)
    assert later[:4] == [
        Train(1, 10, 17, remaining=1.0, target=0.5, learn=True, closes=False),
        Cut(1, 17, 0.5, trained=True),
        Train(1, 17, 25, remaining=0.5, target=0.5),
        Evaluate(1),
    ]


def test_masks_that_are_learned_are_cut_exactly_at_the_end():
    """Movement pruning, SMP."""
    plan = events(phases(last=1), cut_at=1.0)
    assert plan[2:] == [
        Train(1, 10, 25, remaining=1.0, target=0.5, learn=True),
        Cut(1, 25, 0.5, trained=True),
        Evaluate(1),
    ]


def test_the_finetuned_reference_is_taken_before_the_first_cut():
    plan = events(phases(), cut_at=0.0, reference="finetuned")
    assert [event.penalized for event in plan if isinstance(event, Train)] == [False, True, True]
    assert plan[1:4] == [Evaluate(0), Anchor(1), Cut(1, 10, 0.5)]
    assert plan.count(Anchor(1)) == 1


def test_a_penalty_of_the_dense_phase_alone():
    plan = events(phases(), cut_at=0.0, penalty="dense")
    assert [event.weightless for event in plan if isinstance(event, Train)] == [False, True, True]


@pytest.mark.parametrize("cut_at", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("reference", ["pretrained", "finetuned"])
def test_what_is_left_after_a_checkpoint(cut_at, reference):
    """Every event is done once, wherever the run was killed; a phase that is saved whole stays."""
    plan = events(phases(), cut_at=cut_at, reference=reference)
    assert left(plan, 0, 0, evaluated=False) == plan
    for at, event in enumerate(plan):
        if not isinstance(event, Train):
            continue
        for step in range(event.first + 1, event.end + 1):  # saved after that many steps
            ahead = left(plan, event.phase, step, evaluated=False)
            after_cut = step == event.end and not event.closes
            assert ahead == plan[at + after_cut :]
        if event.closes:
            evaluation = next(i for i in range(at, len(plan)) if isinstance(plan[i], Evaluate))
            assert left(plan, event.phase, event.end, evaluated=True) == plan[evaluation + 1 :]


def test_phases_without_training_are_cut_once():
    plan = events(phases(epochs=0), cut_at=0.0)
    assert left(plan, 1, 10, evaluated=False) == plan[3:]  # its cut was before the save


def test_learning_needs_a_step_before_the_cut():
    phases(epochs=1, steps=2).check_learning(0.5)
    phases(epochs=0, last=0).check_learning(0.5)  # never cuts
    phases(epochs=0).check_learning(0.0)
    for short in (phases(epochs=1, steps=1), phases(epochs=0)):
        with pytest.raises(UserError, match=r"^pruning\.epochs_per_step=\d: gates are learned in"):
            short.check_learning(0.5)
