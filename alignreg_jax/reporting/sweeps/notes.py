"""What a reader of the table must know, in words; the same sentences for every format."""

from collections import defaultdict

import pandas as pd

from alignreg_jax.reporting.metric_names import first_word
from alignreg_jax.reporting.sweeps import paper, verdict
from alignreg_jax.reporting.sweeps.cells import means
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.tables import count, percent

_LEAST = 0.95  # of the weights that remain


def below_table(sweep: Sweep, cells: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    """How to read the cells, a paragraph each."""
    known = means(cells)
    found = [_cells_note(sweep, known)]
    if comparisons.tested.any():
        found.append(
            f"↑ ↓: significantly higher or lower than {sweep.facts.baseline}, tested on the"
            f" zero-shot mean at {verdict.at(sweep)} remaining."
        )
    found += _languages_notes(sweep)
    if _has_paper(sweep):
        found.append(
            "paper: the number printed in Table 1 of the paper, at 31 % remaining. Its caption says"
            " XGLUE score, so it stands beside ours; the paper does not say whether its means"
            " include English, are of dev or test sets, or over how many seeds."
            + _other_names(sweep)
        )
    return [*found, *_fewer_seeds(sweep, known), *_fewer_weights(sweep)]


def _other_names(sweep: Sweep) -> str:
    """The paper's names of the rows that have another one here."""
    found = [
        f"{row} is its {paper.ROWS[row]}"
        for row in sweep.facts.rows
        if row in paper.ROWS and row != paper.ROWS[row].lower()
    ]
    return f" In its words {', '.join(found)}." if found else ""


def _cells_note(sweep: Sweep, known: pd.DataFrame) -> str:
    most = int(known.seeds.max()) if len(known) else 1
    text = f"{first_word(_metrics(sweep))} in percent. "
    if any(map(paper.languages, sweep.facts.tasks)):
        text += "All languages: mean over those of a task, English among them, which is XGLUE’s"
        text += " score. "
    text += "Zero-shot: mean over the languages other than English. en: English, the language"
    text += " trained on. "
    if paper.all_tasks(sweep.facts.tasks):
        text += "avg: mean of XGLUE’s score over its eight tasks. "
    if known.half.notna().any():
        text += f"Mean ± 95 % interval (Student’s t) over {most} seeds. "
    else:
        text += "One seed, so no interval. " if most == 1 else ""
    text += "Bold: the best of a column"
    if not sweep.dense_rows:
        return text + "."
    names = ", ".join(row for row in sweep.facts.rows if row in sweep.dense_rows)
    text += f"; {names} does not compete: it is not pruned, and stands everywhere with its"
    return text + " dense score."


def _metrics(sweep: Sweep) -> str:
    """What the scores are: one metric, or each with the tasks that have it."""
    tasks: dict[str, list[str]] = {}
    for task, metric in sweep.metrics.items():
        tasks.setdefault(metric, []).append(sweep.facts.column(task))
    if len(tasks) < 2:
        return "".join(tasks) or "score"
    return ", ".join(f"{metric} ({', '.join(names)})" for metric, names in tasks.items())


def _languages_notes(sweep: Sweep) -> list[str]:
    found = []
    for task, left_out in sweep.left_out.items():
        languages = sweep.languages[task]
        if left_out:
            found.append(
                f"Means on {sweep.facts.column(task)} are over the"
                f" {count(len(languages), 'zero-shot language')} that every run evaluated"
                f" wherever the table is read ({', '.join(languages) or 'none'});"
                f" {count(len(left_out), 'other')} {'was' if len(left_out) == 1 else 'were'} not"
                " evaluated everywhere."
            )
    for task, lacking in sweep.lacking.items():
        if lacking:
            found.append(
                f"XGLUE’s score on {sweep.facts.column(task)} is over"
                f" {len(paper.languages(task))} languages, and missing where one was not evaluated"
                f" ({', '.join(lacking)})."
            )
    return found


def _fewer_seeds(sweep: Sweep, known: pd.DataFrame) -> list[str]:
    """Cells whose number of seeds is not the one asked for."""
    wanted = len(sweep.facts.seeds)
    counts = known.groupby(level=["row", "task"], sort=False).seeds.min()
    listed = [
        f"{_where(sweep, row, task)} ({count})"
        for (row, task), count in counts[counts < wanted].items()
        if task != paper.AVERAGE
    ]
    return [f"Fewer seeds than the {wanted} asked for: {', '.join(listed)}."] if listed else []


def _fewer_weights(sweep: Sweep) -> list[str]:
    """Rows with fewer non-zero weights than the cut leaves them, as behind gates that are shut."""
    lows: dict[tuple[str, str], dict[float, float]] = defaultdict(dict)
    for task, scores in sweep.readings.items():
        for reading, row, _, _, remaining, nonzero in scores.index.to_list():
            if remaining < 1 and nonzero < _LEAST * remaining:  # a dense encoder may have zeros
                low = lows[row, task]
                low[reading] = min(nonzero, low.get(reading, 1.0))
    found = []
    for place in ((row, task) for row in sweep.facts.rows for task in sweep.tasks):
        said = [f"{percent(x)} % at {percent(at, 0)} % remaining" for at, x in lows[place].items()]
        found += [f"{_where(sweep, *place)} ({', '.join(said)})"] if said else []
    if not found:
        return []
    return [
        "Fewer non-zero weights than it may keep, by more than a twentieth:"
        f" {', '.join(found)}; of several seeds the one with the fewest."
    ]


def _where(sweep: Sweep, row: str, task: str) -> str:
    """A row, with its task where there are several."""
    return row if len(sweep.facts.tasks) == 1 else f"{row} on {sweep.facts.column(task)}"


def _has_paper(sweep: Sweep) -> bool:
    read = paper.reading(sweep.facts.remaining) is not None
    return read and any(
        paper.value(row, task) is not None for row in sweep.facts.rows for task in sweep.facts.tasks
    )


def not_in_table(sweep: Sweep) -> list[str]:
    """What failed and what is not finished, a line each; empty when the sweep is complete."""
    facts = sweep.facts
    found = [f"Failed: {name}: {error}" for name, error in facts.failed]
    if facts.missing:
        runs = "1 run is" if facts.missing == 1 else f"{facts.missing} runs are"
        found.append(f"Not finished: {runs} missing; the table is of a part of the sweep.")
    return found
