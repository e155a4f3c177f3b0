"""What a sweep's table is made of: the runs that are finished, and what was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.metrics import Answers
from alignreg_jax.reporting.metric_names import metric_name
from alignreg_jax.reporting.results import COLUMNS, read_results
from alignreg_jax.reporting.series import ENGLISH, common_languages
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.paper import TOLERANCE

PLACE = ("method", "task", "seed")
RESULTS_COLUMNS = (*PLACE, *COLUMNS)
"""Of a sweep's results.csv: those of the runs, with the row's label, the task and the seed."""
_TYPES = {"seed": int, "prune_step": int} | dict.fromkeys(("remaining", "nonzero", "value"), float)


@dataclass(frozen=True)
class FinishedRun:
    """A complete run: results.json, results.csv, config.json, and predictions/ if they were kept.

    `row` and `task` are the labels of its place in the table ("frobenius-mbp",
    "frobenius-mbp@regularizer.weight=0.01"). `gold` maps (split, language) to label names in file
    order, those rows that were evaluated; in token tasks to the tags of each sentence. `queries`
    says of a ranking task what each of these rows answers.
    """

    row: str
    task: str
    seed: int
    workdir: Path
    gold: Mapping[tuple[str, str], Answers]
    queries: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepFacts:
    """What the finished runs do not say about the sweep.

    Attributes:
        title: name of the config, "table1_demo".
        rows: labels in the order of the table.
        tasks: labels of the columns, in order.
        seeds: those that were asked for.
        remaining: fractions of weights at which the table is read.
        baseline: the row that the others are tested against.
        command: the line that makes the sweep again.
        failed: (name of the run, one line of error) each.
        missing: how many planned runs are not finished yet.
        comparisons: the rows that are tested against the baseline; empty for all of them.
        at: which of `remaining` they are tested at; 0 for the paper's 31 % where it is among them,
            else the smallest.
    """

    title: str
    rows: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    remaining: tuple[float, ...]
    baseline: str
    command: str
    failed: tuple[tuple[str, str], ...] = ()
    missing: int = 0
    comparisons: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def compared(self) -> tuple[str, ...]:
        """The rows that are tested against the baseline."""
        return tuple(row for row in self.comparisons or self.rows if row != self.baseline)

    @property
    def tested_at(self) -> float:
        """The one place at which they are tested."""
        if self.at:
            return min(self.remaining, key=lambda remaining: abs(remaining - self.at))
        return paper.reading(self.remaining) or min(self.remaining)

    def column(self, task: str) -> str:
        """What a task is called in print: its label without overrides where that is clear."""
        names = [label.partition("@")[0] for label in self.tasks]
        name = task.partition("@")[0]
        return name if names.count(name) == 1 else task


class Kind(NamedTuple):
    """What the scores on a task are; `chance` is that of guessing, 0 if none is drawn."""

    metric: str
    split: str
    chance: float


@dataclass(frozen=True)
class Sweep:
    """All finished runs as one table.

    Attributes:
        facts: what was asked for.
        records: results.csv of the runs in one, as text so that every digit stays, sorted.
        kinds: what the scores are, of each task that has a run.
        sources: the run at each (row, task, seed), in the order of the table.
    """

    facts: SweepFacts
    records: pd.DataFrame
    kinds: Mapping[str, Kind]
    sources: Mapping[tuple[str, str, int], FinishedRun]

    @cached_property
    def tasks(self) -> list[str]:
        """Labels of the tasks that have a run."""
        return [task for task in self.facts.tasks if task in self.kinds]

    @cached_property
    def evaluations(self) -> dict[str, pd.DataFrame]:
        """By task the scores that count, an evaluation a line and a language a column."""
        found = {}
        for task in self.tasks:
            kind, records = self.kinds[task], self.records
            at = (records.task == task) & (records.metric == kind.metric)
            mine = records.loc[at & (records.split == kind.split)].astype(_TYPES)
            mine = mine.rename(columns={"method": "row"})
            index = ["row", "seed", "prune_step", "remaining", "nonzero"]
            found[task] = mine.pivot(index=index, columns="language", values="value")
        return found

    @cached_property
    def readings(self) -> dict[str, pd.DataFrame]:
        """Those evaluations that the table is read from, with that place as `at` in the index.

        It is the nearest one, if that is within `TOLERANCE`. A run without pruning has the same
        score everywhere: it is what the others are pruned from.
        """
        found = {}
        for task, scores in self.evaluations.items():
            steps, parts = scores.index.to_frame(), {}
            runs = steps.groupby(level=["row", "seed"])
            dense = runs.prune_step.transform("max") == 0
            for at in self.facts.remaining:
                apart = (steps.remaining - at).abs().where(~dense, 0.0)
                nearest = apart.groupby(level=["row", "seed"]).idxmin()
                near = apart.loc[nearest] < TOLERANCE + 1e-9
                parts[at] = scores.loc[near.index[near]]
            found[task] = pd.concat(parts, names=["at"])
        return found

    @cached_property
    def dense_rows(self) -> frozenset[str]:
        """Rows that are not pruned: what pruning is measured from, not a way of pruning."""
        deepest = self.records.prune_step.astype(int).groupby(self.records.method).max()
        return frozenset(deepest.index[deepest == 0])

    @cached_property
    def metrics(self) -> dict[str, str]:
        """What the metric of each task that has a run is called."""
        return {task: metric_name(self.kinds[task].metric) for task in self.tasks}

    @cached_property
    def languages(self) -> dict[str, tuple[str, ...]]:
        """By task, the zero-shot languages that every run evaluated wherever the table is read.

        Only means over the same languages can be compared: a run may evaluate a few of them at a
        step in between and all of them at the last.
        """
        return {task: common_languages(found) for task, found in self.readings.items()}

    @cached_property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """By task, the zero-shot languages that some, but not all of those evaluations have."""
        found = {task: {*of.dropna(axis=1, how="all")} for task, of in self.readings.items()}
        return {t: tuple(sorted(found[t] - {ENGLISH, *self.languages[t]})) for t in found}

    @cached_property
    def lacking(self) -> dict[str, tuple[str, ...]]:
        """By task, the languages of XGLUE's score that one of those evaluations or more lacks."""
        needed = {t: of.reindex(columns=[*paper.languages(t)]) for t, of in self.readings.items()}
        return {task: tuple(of.columns[of.isna().any()]) for task, of in needed.items()}


def read_sweep(facts: SweepFacts, runs: Sequence[FinishedRun]) -> Sweep:
    """Read results.json and results.csv of every run; one with a damaged file counts as failed.

    Raises:
        UserError: two runs have the same place in the table; runs on one task were scored by
            different metrics or on different splits.
        ValueError: a run's row or task is not among those of `facts`.
    """
    records, kinds, sources, damaged = [], {}, {}, []
    for source in runs:
        row, task, seed = place = (source.row, source.task, source.seed)
        name = f"{row} on {task}, seed {seed}"
        try:
            scores = read_table(source.workdir / "results.csv", COLUMNS)
            results = read_results(source.workdir)
        except UserError as error:
            damaged.append((name, str(error)))
            continue
        if place in sources:
            other = sources[place].workdir
            raise UserError(f"{source.workdir}: {other} is the same run: {name}")
        kind = Kind(results["metric"], results["split"], float(results["chance"]))
        first = kinds.setdefault(task, kind)
        if first[:2] != kind[:2]:
            raise UserError(
                f"{source.workdir / 'results.json'}: {' on '.join(kind[:2])}, but other runs on"
                f" {task} have {' on '.join(first[:2])}; they cannot share a table"
            )
        sources[place] = source
        records.append(scores.assign(**dict(zip(PLACE, map(str, place), strict=True))))
    facts = replace(facts, failed=(*facts.failed, *damaged))
    whole = pd.concat(records) if records else pd.DataFrame(columns=pd.Index(RESULTS_COLUMNS))
    return make_sweep(facts, whole, kinds, sources)


def make_sweep(
    facts: SweepFacts,
    records: pd.DataFrame,
    kinds: Mapping[str, Kind],
    sources: Mapping[tuple[str, str, int], FinishedRun],
) -> Sweep:
    """A sweep of the lines of results.csv and the runs that they are of, in any order."""
    order = sorted(sources, key=lambda at: (facts.rows.index(at[0]), facts.tasks.index(at[1]), at))
    numbers = np.lexsort([records.seed.astype(int), records.task, records.method])
    records = records.iloc[numbers][[*RESULTS_COLUMNS]]
    return Sweep(facts, records, kinds, {place: sources[place] for place in order})


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The lines of a results.csv, as text so that every digit stays.

    Raises:
        UserError: it is missing or no such table.
    """
    try:
        found = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is this the workdir of a run?") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a table ({error})") from None
    if tuple(found.columns) != tuple(columns):
        raise UserError(f"{path}: its columns are not {','.join(columns)}")
    try:
        found.astype({name: kind for name, kind in _TYPES.items() if name in columns})
    except ValueError as error:
        raise UserError(f"{path}: not a table of scores ({error})") from None
    return found
