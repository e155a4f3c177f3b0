"""What a reader of the table must know, in words; the same sentences for every format.

The sentences are in templates/sweep_words.txt; here is what they are said of.
"""

from collections import defaultdict
from functools import partial
from itertools import product
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

_LEAST = 0.95  # of the weights that remain


def finding(sweep: Sweep, comparisons: pd.DataFrame, powers: pd.DataFrame) -> str:
    """What the tests say, a sentence for each family and one of what they can detect."""
    families = comparisons[comparisons.p_seeds.notna()].groupby("task", sort=False)
    known = _detectable(sweep, powers) | {"families": families}
    return " ".join(say("finding", sweep, tested_any=comparisons.tested.any(), **known))


def detectable_notes(sweep: Sweep, powers: pd.DataFrame) -> list[str]:
    """The smallest difference that the sweep can find, and what the paper's would take."""
    return say("detectable", sweep, **_detectable(sweep, powers))


def tests(sweep: Sweep, comparisons: pd.DataFrame, powers: pd.DataFrame) -> list[str]:
    """What was tested, and what each test can and cannot show, a paragraph each."""
    tested = comparisons.loc[comparisons.tested]
    over_seeds, known = tested.p_seeds.notna(), tested.loc[tested.p_examples.notna()]
    hurt, average = tested.loc[tested.trouble != ""], tested.task == AVERAGE
    parallel = dict(zip(known.task, known.parallel, strict=True))
    alone = [task for task in parallel if not parallel[task]]
    metrics = {kind.metric for kind in sweep.kinds.values()}
    return say(
        "tests",
        sweep,
        compared=len(comparisons),
        tested=tested,
        averaged=average.any(),
        over_seeds=over_seeds.any(),
        untested=tested.row[~over_seeds].unique(),
        over_examples=len(known),
        tags=metrics & {"f1", "pos_xglue", "word_accuracy"},
        queries="ndcg" in metrics,
        parallel=[sweep.facts.column(task) for task in parallel if parallel[task]],
        alone=alone,
        apart=[sweep.facts.column(task) for task in alone if _translated(task)],
        draws=f"{DRAWS:,}",
        lacking=len(tested) - len(known) - len(hurt) - int(average.sum()),
        troubles=[(_names(sweep, of), why) for why, of in hurt.groupby("trouble", sort=False)],
        wide=powers.task[powers.wide_baseline.astype(bool)],
    )


def below_table(sweep: Sweep, cells: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    """How to read the cells, a paragraph each."""
    facts, known = sweep.facts, means(cells)
    metrics = defaultdict(list)
    for task, metric in sweep.metrics.items():
        metrics[metric].append(facts.column(task))
    said = [f"{metric} ({', '.join(tasks)})" for metric, tasks in metrics.items()]
    seeds = known.drop(index=AVERAGE, level="task", errors="ignore").seeds
    seeds = seeds.groupby(level=["row", "task"], sort=False).min()
    printed = [paper.value(row, task) for row in facts.rows for task in facts.tasks]
    return say(
        "below",
        sweep,
        metrics=first_word(", ".join(said if len(said) > 1 else metrics) or "score"),
        xglue=any(map(paper.languages, facts.tasks)),
        intervals=known.half.notna().any(),
        most=max(known.seeds, default=1),
        tested_any=comparisons.p_seeds.notna().any(),
        printed=paper.reading(facts.remaining) is not None and any(printed),
        fewer_seeds=[
            f"{_where(sweep, *place)} ({least})"
            for place, least in seeds.items()
            if least < len(facts.seeds)
        ],
        fewer_weights=_fewer_weights(sweep),
    )


def not_in_table(sweep: Sweep) -> list[str]:
    """What failed and what is not finished, a line each; empty when the sweep is complete."""
    return say("missing", sweep)


def paper_notes(spread: float, rows: int) -> str:
    """How many seeds the paper's differences take, if seeds spread so far."""
    claims = sorted(paper.CLAIMS.values())
    sizes = " and ".join(percent(claim, 2) for claim in claims)
    seeds = " and ".join(f"{seeds_needed(claim, spread, rows):,}" for claim in claims)
    return f" The paper’s differences of {sizes} points would take {seeds} seeds a row."


def column(sweep: Sweep, task: str) -> str:
    """What a task, or the average, is called in print."""
    return "the average" if task == AVERAGE else sweep.facts.column(task)


def say(name: str, sweep: Sweep, **known: Any) -> list[str]:
    """The paragraphs of a place in templates/sweep_words.txt, of what is known for it."""
    known |= {"sweep": sweep, "facts": sweep.facts, "many": len(sweep.facts.tasks) > 1}
    known |= {"column": partial(column, sweep), "at": f"{percent(sweep.facts.tested_at, 0)} %"}
    known |= {"count": count, "percent": percent, "paper": paper}
    return sentences("sweep_words.txt", name, known)


def _detectable(sweep: Sweep, powers: pd.DataFrame) -> dict[str, Any]:
    facts, found, said = sweep.facts, powers.to_dict("records"), ""
    paired = facts.baseline == "l2-mbp" and set(facts.compared) & set(paper.CLAIMS)
    if paired and found and (len(found) == 1 or found[-1]["task"] == AVERAGE):
        said = paper_notes(found[-1]["spread"], found[-1]["rows"])
    return {"powers": found, "power": f"{100 * POWER:.0f}", "paper_notes": said}


def _fewer_weights(sweep: Sweep) -> list[str]:
    """Rows with fewer non-zero weights than the cut leaves them, as behind gates that are shut."""
    said = defaultdict(list)
    for task, scores in sweep.readings.items():
        steps = scores.index.to_frame(index=False)
        # A dense encoder may have zeros
        fewer = steps[(steps.remaining < 1) & (steps.nonzero < _LEAST * steps.remaining)]
        for (row, at), low in fewer.groupby(["row", "at"], sort=False).nonzero.min().items():
            said[row, task].append(f"{percent(low)} % at {percent(at, 0)} % remaining")
    places = [place for place in product(sweep.facts.rows, sweep.tasks) if place in said]
    return [f"{_where(sweep, *place)} ({', '.join(said[place])})" for place in places]


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
