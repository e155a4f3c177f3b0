"""What the comparisons say, in words: what differs, what was tested, and what it can detect."""

import pandas as pd

from alignreg_jax.data.tasks import TASKS
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.dunnett import POWER, SIGNIFICANT, seeds_needed
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import DRAWS
from alignreg_jax.reporting.tables import count, percent


def finding(sweep: Sweep, comparisons: pd.DataFrame, powers: pd.DataFrame) -> str:
    """What the tests say, a sentence for each family and one of what they can detect."""
    facts, found = sweep.facts, []
    for task in (*facts.tasks, AVERAGE):
        here = comparisons.loc[(comparisons.task == task) & comparisons.p_seeds.notna()]
        if not len(here):
            continue
        where = "" if len(facts.tasks) == 1 else f" on {column(sweep, task)}"
        text = f"At {at(sweep)} remaining{where}, {here.differs.sum()} of"
        text += f" {count(len(here), 'row')} differ significantly from {facts.baseline}"
        parts = [
            f"{word}: {', '.join(marked)}"
            for word, mark in (("higher", "↑"), ("lower", "↓"))
            if len(marked := here.row[here.mark == mark])
        ]
        found.append(f"{text}{' (' + '; '.join(parts) + ')' if parts else ''}.")
    if not found and comparisons.tested.any():
        found.append("Nothing is tested: without a spread between seeds there is no test.")
    return " ".join([*found, *detectable_notes(sweep, powers)])


def detectable_notes(sweep: Sweep, powers: pd.DataFrame) -> list[str]:
    """The smallest difference that the sweep can find, and what the paper's would take."""
    if not len(powers):
        return []
    facts = sweep.facts
    each = [
        f"{'' if len(facts.tasks) == 1 else column(sweep, power.task) + ' '}"
        f"{points(power.detectable)} points (spread between seeds"
        f" {points(power.spread)}, {count(power.seeds, 'seed')})"
        for _, power in powers.iterrows()
    ]
    text = f"Smallest true difference to {facts.baseline} that a sweep of this size detects at"
    text += f" {100 * POWER:.0f} % power: {', '.join(each)}."
    last = powers.iloc[-1]  # the average comes last
    alone = len(powers) == 1 or last.task == AVERAGE
    if alone and facts.baseline == "l2-mbp" and set(facts.compared) & set(paper.CLAIMS):
        text += paper_notes(float(last.spread), int(last.rows))
    return [text]


def paper_notes(spread: float, rows: int) -> str:
    """How many seeds the paper's differences take, if seeds spread so far."""
    claims = sorted(paper.CLAIMS.values())
    sizes = " and ".join(points(claim, 2) for claim in claims)
    seeds = " and ".join(f"{seeds_needed(claim, spread, rows):,}" for claim in claims)
    return f" The paper’s differences of {sizes} points would take {seeds} seeds a row."


def points(fraction: float, digits: int = 1) -> str:
    """A difference in percentage points, without the word."""
    return f"{100 * fraction:.{digits}f}"


def at(sweep: Sweep) -> str:
    """Where the rows are tested, as percent of the weights."""
    return f"{percent(sweep.facts.tested_at, 0)} %"


def column(sweep: Sweep, task: str) -> str:
    """What a task, or the average, is called in print."""
    return "the average" if task == AVERAGE else sweep.facts.column(task)


def tests(sweep: Sweep, comparisons: pd.DataFrame, powers: pd.DataFrame) -> list[str]:
    """What was tested, and what each test can and cannot show, a paragraph each."""
    facts = sweep.facts
    if not len(comparisons):
        return [f"No comparisons: no finished run of {facts.baseline} to compare with."]
    tested, found = comparisons.loc[comparisons.tested], []
    if len(tested):
        tasks = "" if tested.task.nunique() == 1 else ", each task a family of its own"
        average = " On the average it is XGLUE’s score over all languages."
        found = [
            f"Tested: {count(tested.row.nunique(), 'row')} against {facts.baseline} on the"
            f" zero-shot mean at {at(sweep)} remaining{tasks}."
            f"{average if (tested.task == AVERAGE).any() else ''} Nothing"
            " else is tested. A row without an arrow is not shown to equal the baseline.",
            _seeds_test(sweep, tested),
            *_examples_test(sweep, tested),
        ]
    found += [
        f"The seeds of {facts.baseline} spread wider than those of the other rows"
        f" ({column(sweep, task)}; F-test at 1 %), so p over seeds is too small."
        for task in powers.task[powers.wide_baseline.astype(bool)]
    ]
    if len(tested) < len(comparisons):
        found.append(
            "The other differences are exploratory: each interval holds for itself alone, and none"
            " is a finding."
        )
    return found


def _seeds_test(sweep: Sweep, tested: pd.DataFrame) -> str:
    known = tested.p_seeds.notna()
    if not known.any():
        return (
            "Over seeds: no test. It needs two seeds a row or more, with scores that are not all"
            " equal; a second training could turn any of these differences round."
        )
    text = (
        "Over seeds: Dunnett’s test with the spread between seeds pooled over the rows of a family,"
        " or a comparison’s own where that is wider, and Welch’s test of the two rows alone. p and"
        f" intervals are corrected for the family: if no row differed from {sweep.facts.baseline},"
        f" one or more would have p below {SIGNIFICANT:.2f} in at most one sweep of twenty. The"
        " question is whether the difference would come again with other seeds (head, order of the"
        " data, dropout, what a method draws). Definitions and limits: docs/statistics.md."
    )
    if not known.all():
        rows = ", ".join(tested.row[~known].unique())
        text += f" Without a spread of their own, and so without a test: {rows}."
    return text


def _examples_test(sweep: Sweep, tested: pd.DataFrame) -> list[str]:
    known, hurt = tested.loc[tested.p_examples.notna()], tested.loc[tested.trouble != ""]
    trouble = [
        f"No test over examples for {_names(sweep, those)}: {reason}."
        for reason, those in hurt.groupby("trouble", sort=False)
    ]
    if not len(known):
        return [
            "Over examples: no test, so what is found holds for these test sets. It needs the"
            " predictions of the runs (eval.save_predictions) and a score by example.",
            *trouble,
        ]
    text = (
        f"Over examples: a randomisation test (Noreen) swaps the two systems’ answers to an"
        f" example{_units(sweep)}, all seeds of it together, {_languages_together(sweep, known)},"
        f" and scores both anew; p is the share of {DRAWS:,} random swaps that make the means"
        " differ as much as they do, corrected by Holm’s rule. The question is whether these very"
        f" models would differ on other test examples. A row differs significantly if both p are"
        f" below {SIGNIFICANT:.2f}."
    )
    lacking = len(tested) - len(known) - len(hurt) - int((tested.task == AVERAGE).sum())
    if lacking:
        text += f" {count(lacking, 'comparison')} had no predictions of both systems or no score"
        text += " by example; what is found there holds for these test sets."
    return [text, *trouble]


def _languages_together(sweep: Sweep, known: pd.DataFrame) -> str:
    """Whether an example is one row or the same row of every language, by task."""
    tasks = dict(zip(known.task, known.parallel, strict=True))
    text = "each language for itself"
    if all(tasks.values()):
        return "in all languages at once, as the test sets are translations of one another"
    together = [sweep.facts.column(task) for task, parallel in tasks.items() if parallel]
    if together:
        text += f" (in all languages at once on {', '.join(together)}, whose test sets are"
        text += " translations of one another)"
    apart = [
        sweep.facts.column(task)
        for task, parallel in tasks.items()
        if not parallel
        and (known_task := TASKS.get(task.partition("@")[0]))
        and known_task.parallel
    ]
    if apart:
        text += f" ({', '.join(apart)}: the rows of its languages do not line up, so p is too small"
        text += " if they are translations)"
    return text


def _names(sweep: Sweep, comparisons: pd.DataFrame) -> str:
    """The rows, each with its tasks where there are several."""
    if len(sweep.facts.tasks) == 1:
        return ", ".join(comparisons.row)
    tasks = comparisons.groupby("row", sort=False).task
    return ", ".join(f"{row} ({', '.join(map(sweep.facts.column, of))})" for row, of in tasks)


def _units(sweep: Sweep) -> str:
    """What is swapped as a whole where that is not a row."""
    kinds = {kind.metric for kind in sweep.kinds.values()}
    units = []
    if kinds & {"f1", "pos_xglue", "word_accuracy"}:
        units.append("a sentence with all its tags")
    if "ndcg" in kinds:
        units.append("a query with all its rows")
    return f" ({' or '.join(units)})" if units else ""
