"""Schedules: pruning step -> fraction of the original weights remaining. Host floats, no JAX.

Always cumulative: step k says what remains after k cuts, so that counts never drift.
"""

from alignreg_jax.errors import UserError

SCHEDULES = ("geometric", "linear", "cubic", "explicit")


def remaining(
    schedule: str,
    step: int,
    *,
    steps: int,
    fraction: float,
    final: float | None = None,
    explicit: tuple[float, ...] = (),
) -> float:
    """Compute the fraction of weights that remain after pruning step `step`.

    All schedules but the explicit one end at `final`, or, without it, where the paper's schedule
    ends: `(1 - fraction) ** steps`; so schedules compare at equal sparsity.

    Args:
        schedule: "geometric" removes the same fraction of the survivors at every step (the
            paper's 10 %: the only reading that passes through its 31 % and 28 %), "linear" the
            same number of weights, "cubic" much at first and little at the end (automated gradual
            pruning, Zhu and Gupta 2017), "explicit" follows `explicit`.
        step: 0 for the dense network, which is exactly 1.
        steps: number of pruning steps.
        fraction: share of the survivors pruned per step; unused with `final` or `explicit`.
        final: fraction remaining after the last step.
        explicit: fraction remaining after every step; never increasing.

    Raises:
        UserError: a field that makes no schedule.
    """
    validate(schedule, steps=steps, fraction=fraction, final=final, explicit=explicit)
    if not 0 <= step <= steps:
        raise ValueError(f"pruning step {step} is not between 0 and {steps}")
    if step == 0:
        return 1.0
    if schedule == "explicit":
        return float(explicit[step - 1])
    if schedule == "geometric":
        return (1 - fraction) ** step if final is None else final ** (step / steps)
    end = (1 - fraction) ** steps if final is None else final
    ahead = 1 - step / steps
    return end + (1 - end) * (ahead if schedule == "linear" else ahead**3)


def validate(
    schedule: str,
    *,
    steps: int,
    fraction: float,
    final: float | None = None,
    explicit: tuple[float, ...] = (),
) -> None:
    """Check the fields of a schedule before anything runs.

    Raises:
        UserError: one line that names the field.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"pruning.schedule={schedule}: choose one of {', '.join(SCHEDULES)}")
    if steps < 0:
        raise UserError(f"pruning.steps={steps}: give 0 (never prune) or more")
    if schedule == "explicit":
        _validate_explicit(explicit, steps)
    elif final is not None:
        if not 0 < final <= 1:
            raise UserError(f"pruning.final={final}: give a fraction above 0 and at most 1")
    elif not 0 <= fraction < 1:
        raise UserError(f"pruning.fraction={fraction}: give a fraction from 0 to below 1")


def _validate_explicit(explicit: tuple[float, ...], steps: int) -> None:
    if len(explicit) != steps:
        raise UserError(
            f"pruning.explicit has {len(explicit)} values and pruning.steps={steps}: "
            "give one remaining fraction per step"
        )
    for before, after in zip((1.0, *explicit), explicit, strict=False):
        if not 0 < after <= before:
            raise UserError(
                f"pruning.explicit: {after} after {before}; fractions remaining lie above 0, "
                "start at most at 1 and never increase"
            )
