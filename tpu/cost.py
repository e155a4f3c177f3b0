"""Hours and cost of a run from a measured rate. Nothing is looked up: rate and price are yours.

    python tpu/cost.py --config configs/xnli.py:short --rows 392702 \
        --examples-per-second RATE --price-per-hour PRICE

RATE: every train event in a run's metrics.jsonl has it as examples_per_second, and
`benchmarks/train_step.py --parts xnli` prints it. PRICE is that of the whole machine.
Evaluation, compilation and set-up are not training: give --evaluated-rows (in one evaluation, over
all languages and splits) and --evaluated-per-second, and add the rest as --setup-minutes.
For Spot: its price, how often a day it is taken away, and how much of a run each time costs.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from alignreg_jax.config import ExperimentConfig, field_paths, resolve
from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tables import Table, text_table
from alignreg_jax.run.plan import Phases
from alignreg_jax.support import flags, terminal


@dataclass(frozen=True)
class Work:
    """What a run does.

    Attributes:
        steps: of training.
        examples: that are trained on, a row once in every epoch.
        evaluations: one at the end of every phase.
    """

    steps: int
    examples: int
    evaluations: int


def work(config: ExperimentConfig, rows: int) -> Work:
    """What a configuration does on so many training rows."""
    phases = Phases.from_config(config, rows)
    epochs = phases.first_epoch(phases.last + 1)
    return Work(phases.total_steps, epochs * rows, phases.last + 1)


def hours(
    planned: Work,
    examples_per_second: float,
    *,
    evaluated_rows: int = 0,
    evaluated_per_second: float = math.inf,
    setup_minutes: float = 0.0,
) -> float:
    """Hours without a preemption."""
    training = planned.examples / examples_per_second
    evaluation = planned.evaluations * evaluated_rows / evaluated_per_second
    return (training + evaluation) / 3600 + setup_minutes / 60


def spot_hours(undisturbed: float, preemptions_per_day: float, minutes_lost: float) -> float:
    """Hours that are paid for where the machine is taken away now and then.

    A preemption costs what was not saved, set-up and compilation; in T hours there are
    T * preemptions_per_day / 24 of them, also while lost work is done again.

    Raises:
        UserError: more is lost than gained.
    """
    lost = preemptions_per_day / 24 * minutes_lost / 60
    if lost >= 1:
        raise UserError(
            f"{preemptions_per_day:g} preemptions a day that cost {minutes_lost:g} minutes each "
            "leave no time to train"
        )
    return undisturbed / (1 - lost)


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, ExperimentConfig]:
    parser = flags.Parser("tpu/cost.py")
    parser.add_argument("--rows", type=_positive(int), required=True)
    parser.add_argument("--examples-per-second", type=_positive(float), required=True)
    parser.add_argument("--price-per-hour", type=_positive(float), required=True)
    parser.add_argument("--evaluated-rows", type=_positive(int), default=0)
    parser.add_argument("--evaluated-per-second", type=_positive(float), default=math.inf)
    parser.add_argument("--setup-minutes", type=_positive(float), default=0.0)
    parser.add_argument("--spot-price-per-hour", type=_positive(float))
    parser.add_argument("--preemptions-per-day", type=_positive(float), default=0.0)
    parser.add_argument("--minutes-lost", type=_positive(float), default=0.0)
    options, rest = parser.parse_known_args(arguments)
    values = flags.parse(rest, program="cost.py", example="configs/xnli.py", fields=field_paths)
    return options, resolve(values.config)


def _positive(kind: type[int] | type[float]):
    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise ValueError
        return value

    number.__name__ = "positive number"
    return number


def _run(arguments: Sequence[str]) -> int:
    options, config = _parse(arguments)
    planned = work(config, options.rows)
    undisturbed = hours(
        planned,
        options.examples_per_second,
        evaluated_rows=options.evaluated_rows,
        evaluated_per_second=options.evaluated_per_second,
        setup_minutes=options.setup_minutes,
    )
    rows = [
        ["steps", f"{planned.steps:,}"],
        ["examples trained on", f"{planned.examples:,}"],
        ["examples evaluated", f"{planned.evaluations * options.evaluated_rows:,}"],
        ["hours", f"{undisturbed:.1f}"],
        ["cost", f"{undisturbed * options.price_per_hour:.2f}"],
    ]
    if options.spot_price_per_hour:
        spot = spot_hours(undisturbed, options.preemptions_per_day, options.minutes_lost)
        rows.append(["hours on Spot", f"{spot:.1f}"])
        rows.append(["cost on Spot", f"{spot * options.spot_price_per_hour:.2f}"])
    terminal.show(text_table(Table(["", config.task.name], rows)))
    return 0


if __name__ == "__main__":
    sys.exit(flags.execute(sys.argv[1:], lambda: __doc__, _run))
