"""What a reader of the table must know, in words; the same sentences for every format.

The sentences are in templates/sweep_words.txt; here is what they are said of.
"""

from collections import defaultdict
from typing import Any

import pandas as pd

from alignreg_jax.data.tasks import TASKS
from alignreg_jax.reporting.metric_names import first_word
from alignreg_jax.reporting.rendering import sentences
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import means
from alignreg_jax.reporting.sweeps.dunnett import POWER, seeds_needed
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import DRAWS
from alignreg_jax.reporting.tables import count, percent

_ARROWS = {"higher": "↑", "lower": "↓"}
_LEAST = 0.95  # of the weights that remain


def finding(sweep: Sweep, comparisons: pd.DataFrame, powers: pd.DataFrame) -> str:
    """What the tests say, a sentence for each family and one of what they can detect."""
    families = []
    for task, found in comparisons[comparisons.p_seeds.notna()].groupby("task", sort=False):
        marked = {word: found.row[found.mark == mark] for word, mark in _ARROWS.items()}
        families.append(
            {
                "task": column(sweep, str(task)),
                "differ": int(found.differs.sum()),
                "rows": len(found),
                "marked": [f"{word}: {', '.join(of)}" for word, of in marked.items() if len(of)],
            }
        )
    known = _detectable(sweep, powers)
    tested = comparisons.tested.any()
    return " ".join(_say("finding", sweep, families=families, tested_any=tested, **known))


def detectable_notes(sweep: Sweep, powers: pd.DataFrame) -> list[str]:
    """The smallest difference that the sweep can find, and what the paper's would take."""
    return _say("detectable", sweep, **_detectable(sweep, powers))


def tests(sweep: Sweep, comparisons: pd.DataFrame, powers: pd.DataFrame) -> list[str]:
    """What was tested, and what each test can and cannot show, a paragraph each."""
    tested = comparisons.loc[comparisons.tested]
    over_seeds, known = tested.p_seeds.notna(), tested.loc[tested.p_examples.notna()]
    hurt, average = tested.loc[tested.trouble != ""], tested.task == AVERAGE
    parallel = dict(zip(known.task, known.parallel, strict=True))
    return _say(
        "tests",
        sweep,
        compared=len(comparisons),
        baseline_ran=any(row == sweep.facts.baseline for row, *_ in sweep.sources),
        tested_any=len(tested),
        rows=tested.row.nunique(),
        own_families=tested.task.nunique() > 1,
        averaged=average.any(),
        over_seeds=over_seeds.any(),
        untested=[*tested.row[~over_seeds].unique()],
        over_examples=len(known),
        units=_units(sweep),
        parallel=[sweep.facts.column(task) for task in parallel if parallel[task]],
        alone=[task for task in parallel if not parallel[task]],
        apart=[sweep.facts.column(t) for t in parallel if not parallel[t] and _translated(t)],
        draws=f"{DRAWS:,}",
        lacking=len(tested) - len(known) - len(hurt) - int(average.sum()),
        troubles=[(_names(sweep, of), why) for why, of in hurt.groupby("trouble", sort=False)],
        wide=[column(sweep, task) for task in powers.task[powers.wide_baseline.astype(bool)]],
        exploratory=len(tested) < len(comparisons),
    )


def below_table(sweep: Sweep, cells: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    """How to read the cells, a paragraph each."""
    facts, known = sweep.facts, means(cells)
    metrics = defaultdict(list)
    for task, metric in sweep.metrics.items():
        metrics[metric].append(facts.column(task))
    said = [f"{metric} ({', '.join(tasks)})" for metric, tasks in metrics.items()]
    seeds = known.groupby(level=["row", "task"], sort=False).seeds.min()
    fewer = [place for place, least in seeds.items() if least < len(facts.seeds)]
    printed = [paper.value(row, task) for row in facts.rows for task in facts.tasks]
    here = paper.reading(facts.remaining) is not None and any(printed)
    return _say(
        "below",
        sweep,
        metrics=first_word(", ".join(said if len(said) > 1 else metrics) or "score"),
        xglue=any(map(paper.languages, facts.tasks)),
        averages=paper.all_tasks(facts.tasks),
        intervals=known.half.notna().any(),
        most=max(known.seeds, default=1),
        dense=[row for row in facts.rows if row in sweep.dense_rows],
        tested_any=comparisons.tested.any(),
        partial=[
            (facts.column(task), sweep.languages[task], len(left_out))
            for task, left_out in sweep.left_out.items()
            if left_out
        ],
        incomplete=[
            (facts.column(task), len(paper.languages(task)), lacking)
            for task, lacking in sweep.lacking.items()
            if lacking
        ],
        paper=here,
        names=[
            f"{row} is its {paper.ROWS[row]}"
            for row in facts.rows
            if row in paper.ROWS and row != paper.ROWS[row].lower()
        ],
        fewer_seeds=[
            f"{_where(sweep, *place)} ({seeds[place]})" for place in fewer if place[1] != AVERAGE
        ],
        fewer_weights=_fewer_weights(sweep),
    )


def not_in_table(sweep: Sweep) -> list[str]:
    """What failed and what is not finished, a line each; empty when the sweep is complete."""
    return _say("missing", sweep)


def paper_notes(spread: float, rows: int) -> str:
    """How many seeds the paper's differences take, if seeds spread so far."""
    claims = sorted(paper.CLAIMS.values())
    sizes = " and ".join(points(claim, 2) for claim in claims)
    seeds = " and ".join(f"{seeds_needed(claim, spread, rows):,}" for claim in claims)
    return f" The paper’s differences of {sizes} points would take {seeds} seeds a row."


def points(fraction: float, digits: int = 1) -> str:
    """A difference in percentage points, without the word."""
    return f"{100 * fraction:.{digits}f}"


def column(sweep: Sweep, task: str) -> str:
    """What a task, or the average, is called in print."""
    return "the average" if task == AVERAGE else sweep.facts.column(task)


def _say(name: str, sweep: Sweep, **known: Any) -> list[str]:
    """The paragraphs of a place, of what is known for it."""
    at, many = f"{percent(sweep.facts.tested_at, 0)} %", len(sweep.facts.tasks) > 1
    known |= {"facts": sweep.facts, "many": many, "at": at, "count": count, "points": points}
    return sentences("sweep_words.txt", name, known)


def _detectable(sweep: Sweep, powers: pd.DataFrame) -> dict[str, Any]:
    facts, found, said = sweep.facts, powers.to_dict("records"), ""
    paired = facts.baseline == "l2-mbp" and set(facts.compared) & set(paper.CLAIMS)
    if paired and found and (len(found) == 1 or found[-1]["task"] == AVERAGE):
        said = paper_notes(found[-1]["spread"], found[-1]["rows"])
    named = [one | {"task": column(sweep, one["task"])} for one in found]
    return {"powers": named, "power": f"{100 * POWER:.0f}", "paper_notes": said}


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
    return found


def _where(sweep: Sweep, row: str, task: str) -> str:
    """A row, with its task where there are several."""
    return row if len(sweep.facts.tasks) == 1 else f"{row} on {sweep.facts.column(task)}"


def _translated(task: str) -> bool:
    known = TASKS.get(task.partition("@")[0])
    return known is not None and known.parallel


def _names(sweep: Sweep, comparisons: pd.DataFrame) -> list[str]:
    """The rows, each with its tasks where there are several."""
    if len(sweep.facts.tasks) == 1:
        return list(comparisons.row)
    tasks = comparisons.groupby("row", sort=False).task
    return [f"{row} ({', '.join(map(sweep.facts.column, of))})" for row, of in tasks]


def _units(sweep: Sweep) -> list[str]:
    """What is swapped as a whole where that is not a row."""
    kinds = {kind.metric for kind in sweep.kinds.values()}
    tags = ["a sentence with all its tags"] if kinds & {"f1", "pos_xglue", "word_accuracy"} else []
    return tags + (["a query with all its rows"] if "ndcg" in kinds else [])
