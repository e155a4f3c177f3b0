"""What a reader of the table must know, in words; the same sentences for every format."""

from collections.abc import Sequence

from alignreg_jax.reporting.metric_names import first_word
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import STATISTICS, Cells, Place
from alignreg_jax.reporting.sweeps.comparisons import SIGNIFICANT, Comparison
from alignreg_jax.reporting.sweeps.runs import TOLERANCE, Sweep
from alignreg_jax.reporting.sweeps.statistics import DRAWS
from alignreg_jax.reporting.tables import percent

_TWENTIETH = 0.05


def below_table(sweep: Sweep, cells: Cells, comparisons: Sequence[Comparison]) -> list[str]:
    """How to read the cells, a paragraph each."""
    facts = sweep.facts
    found = [_cells_note(sweep, cells)]
    if comparisons:
        found.append(
            f"↑ ↓: the zero-shot mean is higher or lower than that of {facts.baseline}, and the"
            " difference survives both tests, over seeds and over examples."
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
    if seeds and max(seeds) > 1:
        text += f"Mean ± 95 % interval (Student’s t) over {max(seeds)} seeds. "
    else:
        text += "One seed, so no interval. "
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
                f" {len(left_out)} others were not evaluated everywhere."
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


def finding(sweep: Sweep, comparisons: Sequence[Comparison]) -> str:
    """What the comparisons say, a sentence or two for each place where the table is read."""
    facts = sweep.facts
    found = []
    for remaining in facts.remaining:
        here = [c for c in comparisons if c.remaining == remaining]
        if not here:
            continue
        tasks = "" if len(facts.tasks) == 1 else f" on {len(facts.tasks)} tasks"
        text = f"At {percent(remaining, 0)} % remaining, {sum(c.survives for c in here)} of"
        text += f" {count(len(here), 'difference')} to {facts.baseline}{tasks} survive both tests"
        parts = [
            f"{word}: {_names(sweep, marked)}"
            for word, mark in (("higher", "↑"), ("lower", "↓"))
            if (marked := [c for c in here if c.mark == mark])
        ]
        found.append(f"{text}{' (' + '; '.join(parts) + ')' if parts else ''}.")
    return " ".join(found)


def _names(sweep: Sweep, comparisons: Sequence[Comparison]) -> str:
    """The rows, each with its tasks where there are several."""
    facts, tasks = sweep.facts, {}
    for comparison in comparisons:
        tasks.setdefault(comparison.row, []).append(facts.column(comparison.task))
    if len(facts.tasks) == 1:
        return ", ".join(tasks)
    return ", ".join(f"{row} ({', '.join(names)})" for row, names in tasks.items())


def tests(sweep: Sweep, comparisons: Sequence[Comparison]) -> list[str]:
    """What was tested, and what each test can and cannot show, a paragraph each."""
    if not comparisons:
        return [f"No comparisons: no finished run of {sweep.facts.baseline} to compare with."]
    tested = [c for c in comparisons if c.p is not None]
    seeds = max(c.seeds for c in comparisons)
    return [
        f"Every row is compared with {sweep.facts.baseline}, seed by seed, on the zero-shot mean."
        " A difference survives only if both tests below say so. Two tests are needed because two"
        " things are drawn by chance: the training (its seed) and the test examples.",
        _seeds_test(seeds),
        *_examples_test(sweep, tested, len(comparisons)),
        "Each of the two is corrected by Holm’s rule for the number of comparisons, and must then"
        f" have p below {SIGNIFICANT}: if no row differed from the baseline, one test or more would"
        f" pass with probability {SIGNIFICANT} at most.",
        "A row without an arrow is not shown to be equal to the baseline; it is not shown to"
        " differ. Nothing but the zero-shot mean of a task is tested.",
    ]


def _seeds_test(seeds: int) -> str:
    if seeds == 1:
        return (
            "Over seeds: with one seed there is no interval, so nothing can survive: a second"
            " training could turn any of these differences round."
        )
    return (
        f"Over seeds: Student’s t-test of the {seeds} paired differences. It shows whether the"
        " difference would come again if the models were trained again with other seeds, which"
        " change the new head, the order of the data, dropout and all that a method draws. It says"
        " nothing of other test examples, and with few seeds a real difference is easily missed."
        " The interval beside a difference is of one comparison, without the correction."
    )


def _examples_test(sweep: Sweep, tested: Sequence[Comparison], compared: int) -> list[str]:
    if not tested:
        return [
            "Over examples: no test, so nothing can survive. It needs the predictions of the runs"
            " (eval.save_predictions)."
        ]
    found = (
        f"Over examples: a randomisation test (Noreen) swaps the two systems’ answers to an"
        f" example{_units(sweep)}, all seeds of it together, each language for itself, and scores"
        f" both anew; p is the share of {DRAWS:,} random swaps that make the means differ as much"
        " as they do. After the correction for"
        f" {count(len(tested), 'comparison')} it must be below {SIGNIFICANT}. It shows whether"
        " these very models differ by more than the luck of which examples are in the test sets."
        " It takes the trained models as they are, so it cannot say that the method, rather than"
        " the seeds, made the difference; and it takes examples as independent, so that p is too"
        " small where the languages’ test sets are translations of one another."
    )
    if len(tested) == compared:
        return [found]
    return [
        found,
        f"{count(compared - len(tested), 'comparison')} had no predictions of both systems or no"
        " score by example, and so no test over examples; they cannot survive.",
    ]


def _units(sweep: Sweep) -> str:
    """What is swapped as a whole where that is not a row."""
    kinds = {run.results["metric"] for run in sweep.runs}
    units = []
    if kinds & {"f1", "pos_xglue", "word_accuracy"}:
        units.append("a sentence with all its tags")
    if "ndcg" in kinds:
        units.append("a query with all its rows")
    return f" ({' or '.join(units)})" if units else ""


def count(number: int, noun: str) -> str:
    """A number with its noun in the right form."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
