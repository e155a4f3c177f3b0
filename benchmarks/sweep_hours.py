"""Hours and cost of a sweep over XGLUE's tasks, from rates that were measured.

    python benchmarks/sweep_hours.py --config configs/table1.py --pieces xnli=40
        --trained 32=5302 128=2690 256=1770 --evaluated 128=19153 --price-per-hour PRICE

Rates are examples a second in rows of so many pieces, as benchmarks/accelerator.py prints them
(rows "base, 32 x 32" and so on, of the sweep's batch; and "evaluation"). Between two lengths the
seconds of a row are interpolated; below the smallest they are taken to be that one's, above the
largest to grow in proportion. --pieces: mean length of a task's rows in batches, padding included;
without it a task is reckoned at its greatest length, which is more than it takes.

Steps and rows are those of the plan: runs that share a dense phase have it once, a teacher speaks
once about what it teaches, every phase ends with an evaluation of all languages. Text without
labels is as long as the rows beside it. --minutes-per-run is what you add for start, compilation,
cuts and saves; "in steps" is the share of the hours that training itself takes. The price is that
of one machine; sharding over several changes no sum.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import xglue_sizes
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tables import Table, text_table
from alignreg_jax.run.plan import Phases
from alignreg_jax.support import flags, terminal
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.plan import Run, groups, plan
from alignreg_jax.sweeping.starts import field_paths

Rates = Mapping[int, float]  # pieces in a row -> examples a second


@dataclass(frozen=True)
class Work:
    """What runs of one task do: how many they are, rows trained on and rows answered."""

    runs: int
    trained: int
    answered: int


def work(runs: Sequence[Run]) -> Work:
    """Of runs of one task, on all of XGLUE's rows."""
    trained = answered = 0
    for group in groups(runs):
        shared = 0
        for run in group:
            phases, batch = _phases(run.config), run.config.train.batch_size
            shared = phases.steps(0) * batch
            trained += phases.total_steps * batch - shared
            answered += phases.last * _evaluated(run.config) + _taught(run.config)
        trained += shared
        answered += _evaluated(group[0].config)
    return Work(len(runs), trained, answered)


def _rows(config: ExperimentConfig) -> int:
    task = get_task(config.task.name)
    if task.xglue is None:
        raise UserError(f"task.name={task.name}: has no rows that are known; XGLUE's tasks have")
    every = xglue_sizes.rows(task.name, "en", "train")
    return min(every, config.task.train_examples or every)


def _text(config: ExperimentConfig) -> int:
    """Rows without labels in an epoch."""
    share = config.distill.text_share if config.distill.text else 0
    return round(_rows(config) * share / (1 - share))


def _phases(config: ExperimentConfig) -> Phases:
    return Phases.from_config(config, _rows(config), _text(config))


def _taught(config: ExperimentConfig) -> int:
    return _rows(config) + _text(config) if config.distill.teacher != "none" else 0


def _evaluated(config: ExperimentConfig) -> int:
    languages = config.eval.languages or get_task(config.task.name).languages or ()
    sizes = (
        xglue_sizes.rows(config.task.name, language, split)
        for split in config.eval.splits
        for language in languages
    )
    return sum(min(size, config.eval.examples or size) for size in sizes)


def seconds_a_row(rates: Rates, pieces: int) -> float:
    """Seconds of a row of so many pieces, by the rates of rows that were measured."""
    lengths = sorted(rates)
    known = [1 / rates[length] for length in lengths]
    return float(np.interp(pieces, lengths, known)) * max(1, pieces / lengths[-1])


def hours(planned: Work, trained: Rates, evaluated: Rates, pieces: int) -> float:
    """Hours of training and of answers; `evaluated` may be empty."""
    seconds = planned.trained * seconds_a_row(trained, pieces)
    seconds += planned.answered * seconds_a_row(evaluated, pieces) if evaluated else 0
    return seconds / 3600


def _pairs(texts: Sequence[str], flag: str) -> dict[str, float]:
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not 0 < found[name] < math.inf:
            raise UserError(f"{flag} {text}: not of the form NAME=NUMBER with a number above 0")
    return found


def _rates(texts: Sequence[str], flag: str) -> dict[int, float]:
    found = _pairs(texts, flag)
    if wrong := [name for name in found if not (name.isdecimal() and int(name))]:
        raise UserError(f"{flag} {wrong[0]}=: not a number of pieces")
    return {int(name): rate for name, rate in found.items()}


def _run(arguments: Sequence[str]) -> int:
    parser = flags.Parser("sweep_hours.py")
    parser.add_argument("--trained", nargs="+", required=True)
    parser.add_argument("--evaluated", nargs="+", default=[])
    parser.add_argument("--pieces", nargs="+", default=[])
    parser.add_argument("--minutes-per-run", type=float, default=0.0)
    parser.add_argument("--price-per-hour", type=float, default=0.0)
    options, rest = parser.parse_known_args(arguments)
    values = flags.parse(rest, program="sweep_hours.py", example="table1.py", fields=field_paths)
    trained = _rates(options.trained, "--trained")
    evaluated = _rates(options.evaluated, "--evaluated")
    pieces = _pairs(options.pieces, "--pieces")
    runs = plan(sweeps.resolve(values.config))
    names = {run.config.task.name for run in runs}
    if unknown := sorted(set(pieces) - names):
        raise UserError(f"--pieces {unknown[0]}=: the sweep has {', '.join(sorted(names))}")
    lines, every = [], 0.0
    for task in dict.fromkeys(run.task for run in runs):
        of_task = [run for run in runs if run.task == task]
        config, planned = of_task[0].config, work(of_task)
        greatest = config.task.max_length or get_task(config.task.name).max_length
        length = round(pieces.get(config.task.name, greatest))
        needed = hours(planned, trained, evaluated, length)
        needed += planned.runs * options.minutes_per_run / 60
        every += needed
        steps = hours(planned, trained, {}, length) / needed
        counts = (planned.runs, planned.trained, planned.answered, length)
        lines.append([config.task.name, *(f"{count:,}" for count in counts)])
        lines[-1] += [f"{steps:.0%}", f"{needed:,.1f}"]
    lines.append(["all", f"{len(runs):,}", "", "", "", "", f"{every:,.1f}"])
    columns = ["task", "runs", "rows trained on", "rows answered", "pieces", "in steps", "hours"]
    terminal.show(text_table(Table(columns, lines)))
    if options.price_per_hour:
        terminal.show(
            f"{every * options.price_per_hour:,.0f} at {options.price_per_hour:g} an hour"
        )
    return 0


if __name__ == "__main__":
    sys.exit(flags.execute(sys.argv[1:], lambda: __doc__, _run))
