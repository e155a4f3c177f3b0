"""Seeds that are trained side by side: which can be, and where all of them can go on."""

from collections.abc import Mapping

from alignreg_jax.errors import UserError
from alignreg_jax.support import processes
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.manifests import Place

_NOWHERE: Place = (-1, 0, 0, False)  # nothing was saved


def common(runs: Mapping[int, Checkpoints]) -> Place | None:
    """The newest place at which all seeds have a sound checkpoint, for `restore`.

    They are saved one after the other, so a kill can leave some of them one ahead. None for a
    single seed: its newest, whatever that is.

    Raises:
        UserError: every checkpoint of a seed is damaged, or the seeds have none in common.
    """
    if len(runs) == 1:
        return None

    def find() -> Place:
        found = {seed: run.sound() for seed, run in runs.items()}
        if not any(found.values()):
            return _NOWHERE
        shared = set.intersection(*({at.place for at in sound} for sound in found.values()))
        if shared:
            return max(shared)
        stands = ", ".join(
            f"{runs[seed].folder.parent} (" + (f"step {sound[0].step})" if sound else "none)")
            for seed, sound in found.items()
        )
        ways = ", then ".join(
            f"--config.seeds=1 --config.seed={seed} --workdir={run.folder.parent}"
            for seed, run in runs.items()
        )
        raise UserError(
            f"no checkpoint is common to {stands}: these seeds cannot go on side by side, and"
            f" nothing was changed; run each by itself first: {ways}"
        )

    phase, epoch, dispatch, evaluated = processes.decide(find, size=4)
    return phase, epoch, dispatch, bool(evaluated)


def companions(runs: Mapping[int, Checkpoints]) -> list[list[int]]:
    """Seeds in groups that can go on side by side: from a place that all have, or from the start.

    Only manifests are read; `common` finds out what is sound.
    """

    def number_groups() -> list[int]:
        shared: list[set[Place]] = []  # of every group
        numbers = []
        for run in runs.values():
            places = run.places() or {_NOWHERE}
            fitting = [number for number, own in enumerate(shared) if own & places]
            number = fitting[0] if fitting else len(shared)
            if fitting:
                shared[number] &= places
            else:
                shared.append(places)
            numbers.append(number)
        return numbers

    numbers = processes.decide(number_groups, size=len(runs))
    return [
        [seed for seed, own in zip(runs, numbers, strict=True) if own == number]
        for number in sorted(set(numbers))
    ]
