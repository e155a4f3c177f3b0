"""Before a sweep is run: what it will be able to detect."""

from collections.abc import Sequence

from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import read_cells
from alignreg_jax.reporting.sweeps.comparisons import powers
from alignreg_jax.reporting.sweeps.dunnett import POWER, detectable
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import FinishedRun, SweepFacts, read_sweep
from alignreg_jax.reporting.sweeps.words import paper_notes
from alignreg_jax.reporting.tables import count, percent

PRIOR = 0.02
"""The spread of a zero-shot mean between seeds, where no finished runs tell it: what a row without
learned gates or random cuts has on the bundled data (docs/statistics.md)."""


def outlook(facts: SweepFacts, finished: Sequence[FinishedRun]) -> str:
    """A line a task: the smallest difference that its family detects with the seeds asked for.

    The spread between seeds is that of the finished runs, or `PRIOR`. Only their results are read.
    """
    sweep = read_sweep(facts, finished)
    found = powers(sweep, read_cells(sweep))
    known = dict(zip(found.task, found.spread, strict=True))
    seeds = len(facts.seeds)
    rows = sum(row.partition("@")[0] != "none" for row in facts.compared)
    if not rows:
        return f"Nothing to compare with {facts.baseline}.\n"
    average = (AVERAGE,) if AVERAGE in known else ()
    return "".join(
        _line(facts, task, known.get(task), seeds, rows) for task in (*facts.tasks, *average)
    )


def _line(facts: SweepFacts, task: str, known: float | None, seeds: int, rows: int) -> str:
    where = "" if len(facts.tasks) == 1 else f" on {facts.column(task)}"
    text = f"{count(rows, 'row')} against {facts.baseline}{where} at"
    text += f" {percent(facts.tested_at, 0)} % remaining: "
    if seeds < 2:
        return f"{text}one seed a row tests nothing; two are the least, three or more the use.\n"
    spread = PRIOR if known is None else known
    source = "a guess" if known is None else "of the finished runs"
    text += f"{seeds} seeds a row detect a difference of {percent(detectable(spread, seeds, rows))}"
    text += f" points at {100 * POWER:.0f} % power if seeds spread by {percent(spread)} points"
    text += f" ({source})."
    if facts.baseline == "l2-mbp" and set(facts.compared) & set(paper.CLAIMS):
        text += paper_notes(spread, rows)
    return f"{text}\n"
