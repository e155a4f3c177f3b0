"""What a checkpoint holds of a run, and how a run goes on from one."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.run.member import Member
from alignreg_jax.training import teaching
from alignreg_jax.training.companions import common
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.manifests import Position
from alignreg_jax.training.state import as_layout_1, from_layout_1
from alignreg_jax.training.trainer import Trainer

log = logging.getLogger(__name__)


def tree(
    config: ExperimentConfig, state: Any, reference: Any, teacher: Any, phase: int
) -> dict[str, Any]:
    """What a checkpoint holds; a pretrained reference is read again from the encoder.

    There is no fine-tuned one before the first cut: until then all methods are alike.
    """
    held = {"state": state}
    if config.regularizer.reference == "finetuned" and phase:
        held["reference"] = reference
    if teacher is not None:
        held["teacher"] = teacher
    return held


def restore(
    config: ExperimentConfig,
    inputs: Inputs,
    members: Sequence[Member],
    trainer_at: Callable[[Position], Trainer],
) -> list[Position]:
    """Go back to where all seeds have a sound checkpoint, and cut their histories there.

    Args:
        config: of the run.
        inputs: of the run.
        members: its seeds.
        trainer_at: the trainer of a position, which is then where the checkpoints say.

    Returns:
        Where each seed is; at the start where no checkpoint is common to all.
    """
    place = common({member.config.seed: member.checkpoints for member in members})

    def saved(position: Position) -> dict[str, Any]:
        trainer = trainer_at(position)
        state = trainer.abstract
        state = as_layout_1(state) if position.layout == 1 else state
        teacher = _abstract_teacher(config, inputs, trainer, position)
        return tree(config, state, trainer.abstract_reference, teacher, position.phase)

    found = [member.checkpoints.restore(saved, place) for member in members]
    positions = [Position.start_of(0) if one is None else one[1] for one in found]
    for member, position in zip(members, positions, strict=True):
        member.go_back(position)
    restored = [one[0] for one in found if one is not None]
    if not restored:
        return positions
    states = [
        from_layout_1(held["state"]) if own.layout == 1 else held["state"]
        for held, own in zip(restored, positions, strict=True)
    ]
    trainer, position = trainer_at(positions[0]), positions[0]
    trainer.restore(states, position.step)
    if "reference" in restored[0]:
        trainer.restore_reference([held["reference"] for held in restored])
    if "teacher" in restored[0]:
        trainer.teach([held["teacher"] for held in restored])
    log.info("continuing from step %d in phase %d", position.step, position.phase)
    return positions


def _abstract_teacher(
    config: ExperimentConfig, inputs: Inputs, trainer: Trainer, position: Position
) -> Teacher | None:
    """Shapes and places of a teacher's answers that a checkpoint holds; None before any."""
    first = inputs.time_table(config).text_from
    if config.distill.teacher == "none" or position.phase < first:
        return None
    logits = teaching.abstract(inputs.train, len(inputs.dataset.labels), inputs.mesh)
    return Teacher(logits, trainer.abstract.params) if config.distill.hidden else Teacher(logits)
