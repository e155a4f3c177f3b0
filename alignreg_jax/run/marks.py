"""What learned masks go by, step by step: how many weights stay, and how far all of it has come."""

from collections.abc import Callable

import numpy as np

from alignreg_jax.pruning.masks import Keep
from alignreg_jax.pruning.method import Marks
from alignreg_jax.run.plan import Phases, Train


def of_steps(
    event: Train,
    phases: Phases,
    step: int,
    count: int,
    *,
    warmup: float,
    cooldown: float,
    keep: Callable[[float], Keep],
) -> list[Marks]:
    """Say what holds in `count` steps from `step` on.

    What is pruned grows as 1 - (1 - t)^3 over the phase (Sanh et al. 2020), but for the cool-down
    at its end and, in the first phase, a warm-up: scores start at 0, and without it the first
    choices would be by position. A threshold, and a penalty that belongs to it, grow in the same
    way over all of learning.

    Args:
        event: in which the steps are.
        phases: the time table.
        step: training steps of the run before them.
        count: how many steps.
        warmup: share of learning at the start in which nothing is pruned yet.
        cooldown: share at the end in which the count stands still; less than 1 with `warmup`.
        keep: share that remains -> how many weights.
    """
    begin = phases.first_step(1)
    whole = max(phases.total_steps - begin, 1)
    found = []
    for at in range(step, step + count):
        within = (at + 1 - event.first) / max(event.end - event.first, 1)
        left = _left(within, warmup if event.phase == 1 else 0.0, 1 - cooldown)
        progress = (at + 1 - begin) / whole
        found.append(
            Marks(
                keep=keep(event.target + (event.remaining - event.target) * left),
                learned=np.int32(at - begin),
                progress=np.float32(progress),
                ramp=np.float32(1 - _left(progress, warmup, 1 - cooldown)),
            )
        )
    return found


def _left(time: float, begin: float, end: float) -> float:
    """Fall from 1 to 0 as (1 - t)^3 between two times."""
    return (1 - min(max(0.0, (time - begin) / (end - begin)), 1.0)) ** 3
