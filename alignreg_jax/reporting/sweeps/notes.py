"""What a reader of the table must know, in words; the same sentences for every format."""

from collections.abc import Sequence

from alignreg_jax.reporting.metric_names import first_word
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import STATISTICS, Cells, Place
from alignreg_jax.reporting.sweeps.comparisons import Comparison
from alignreg_jax.reporting.sweeps.runs import TOLERANCE, Sweep
from alignreg_jax.reporting.sweeps.verdict import at
from alignreg_jax.reporting.tables import count, percent

_TWENTIETH = 0.05


def below_table(sweep: Sweep, cells: Cells, comparisons: Sequence[Comparison]) -> list[str]:
    """How to read the cells, a paragraph each."""
    found = [_cells_note(sweep, cells)]
    if any(comparison.tested for comparison in comparisons):
        found.append(
            f"↑ ↓: significantly higher or lower than {sweep.facts.baseline}, tested on the"
            f" zero-shot mean at {at(sweep)} remaining."
        )
    found += _languages_notes(sweep)
    if _has_paper(sweep):
        found.append(
            "paper: the number printed in Table 1 of the paper, at 31 % remaining. Its caption says"
            " XGLUE score, so it stands beside ours; the paper does not say whether its means"
            " include English, are of dev or test sets, or over how many seeds."
            + _other_names(sweep)
        )
    return [*found, *_fewer_seeds(sweep, cells), *_fewer_weights(sweep)]


def _other_names(sweep: Sweep) -> str:
    """The paper's names of the rows that have another one here."""
    found = [
        f"{row} is its {paper.ROWS[row]}"
        for row in sweep.facts.rows
        if row in paper.ROWS and row != paper.ROWS[row].lower()
    ]
    return f" In its words {', '.join(found)}." if found else ""


def _cells_note(sweep: Sweep, cells: Cells) -> str:
    seeds = {cell.interval.count for cell in cells.values()}
    text = f"{first_word(_metrics(sweep))} in percent. "
    if any(map(paper.languages, sweep.facts.tasks)):
        text += "All languages: mean over those of a task, English among them, which is XGLUE’s"
        text += " score. "
    text += "Zero-shot: mean over the languages other than English. en: English, the language"
    text += " trained on. "
    if paper.all_tasks(sweep.facts.tasks):
        text += "avg: mean of XGLUE’s score over its eight tasks. "
    if any(cell.interval.half is not None for cell in cells.values()):
        text += f"Mean ± 95 % interval (Student’s t) over {max(seeds)} seeds. "
    else:
        text += "One seed, so no interval. " if max(seeds, default=1) == 1 else ""
    text += "Bold: the best of a column"
    if not sweep.dense_rows:
        return text + "."
    names = ", ".join(row for row in sweep.facts.rows if row in sweep.dense_rows)
    text += f"; {names} does not compete: it is not pruned, and stands everywhere with its"
    return text + " dense score."


def _metrics(sweep: Sweep) -> str:
    """What the scores are: one metric, or each with the tasks that have it."""
    tasks: dict[str, list[str]] = {}
    for task in filter(sweep.metrics.__contains__, sweep.facts.tasks):
        tasks.setdefault(sweep.metrics[task], []).append(sweep.facts.column(task))
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


def _fewer_seeds(sweep: Sweep, cells: Cells) -> list[str]:
    """Cells whose number of seeds is not the one asked for."""
    facts = sweep.facts
    wanted, fewer = len(facts.seeds), {}
    for row in facts.rows:
        for task in facts.tasks:
            counts = {
                len(cells[place].values)
                for remaining in facts.remaining
                for statistic in STATISTICS
                if (place := Place(row, task, remaining, statistic)) in cells
            }
            if counts and min(counts) < wanted:
                fewer[_where(sweep, row, task)] = min(counts)
    if not fewer:
        return []
    listed = ", ".join(f"{name} ({found})" for name, found in fewer.items())
    return [f"Fewer seeds than the {wanted} asked for: {listed}."]


def _fewer_weights(sweep: Sweep) -> list[str]:
    """Rows with fewer non-zero weights than the cut leaves them, as behind gates that are shut."""
    facts, found = sweep.facts, []
    for row in facts.rows:
        for task in facts.tasks:
            parts = []
            for remaining in facts.remaining:
                steps = [run.step_at(remaining) for run in sweep.of(row, task)]
                fewer = [
                    step["nonzero"]
                    for step in steps
                    if step is not None
                    and step["remaining"] < 1  # a dense encoder may come with zeros
                    and step["nonzero"] < (1 - _TWENTIETH) * step["remaining"]
                ]
                if fewer:
                    parts.append(f"{percent(min(fewer))} % at {percent(remaining, 0)} % remaining")
            if parts:
                found.append(f"{_where(sweep, row, task)} ({', '.join(parts)})")
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
    read = paper.reading(sweep.facts.remaining, TOLERANCE) is not None
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
