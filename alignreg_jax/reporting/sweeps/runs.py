"""What a sweep's table is made of: the runs that are finished, and what was asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.metrics import Answers
from alignreg_jax.evaluation.summary import means
from alignreg_jax.reporting.metric_names import metric_name
from alignreg_jax.reporting.results import COLUMNS, Results, read_results, read_rows
from alignreg_jax.reporting.series import ENGLISH
from alignreg_jax.reporting.sweeps import paper

# How far a pruning step may be from where a table is read; 0.9**11 and 0.3138 are the same point.
TOLERANCE = 0.01


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
        return paper.reading(self.remaining, TOLERANCE) or min(self.remaining)

    def column(self, task: str) -> str:
        """What a task is called in print: its label without overrides where that is clear."""
        names = [label.partition("@")[0] for label in self.tasks]
        name = task.partition("@")[0]
        return name if names.count(name) == 1 else task


@dataclass(frozen=True)
class Run:
    """A finished run with the content of its results.json, and the lines of its results.csv."""

    source: FinishedRun
    results: Results
    scores: Sequence[Sequence[str]] = ()

    @property
    def row(self) -> str:
        """Label of the table's row."""
        return self.source.row

    @property
    def task(self) -> str:
        """Label of the table's column."""
        return self.source.task

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.source.seed

    @property
    def split(self) -> str:
        """The split that the scores are of."""
        return self.results["split"]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its evaluations, as results.json has them, from dense to sparse."""
        return self.results["prune_steps"]

    @property
    def dense_only(self) -> bool:
        """Whether it was fine-tuned and never pruned."""
        return [step["prune_step"] for step in self.steps] == [0]

    def step_at(self, remaining: float) -> dict[str, Any] | None:
        """The evaluation nearest to a fraction of weights, None if none is within `TOLERANCE`.

        A run without pruning has the same score everywhere: it is what the others are pruned from.
        """
        if self.dense_only:
            return self.steps[0]
        nearest = min(self.steps, key=lambda step: abs(step["remaining"] - remaining))
        return nearest if abs(nearest["remaining"] - remaining) < TOLERANCE + 1e-9 else None


@dataclass(frozen=True)
class Sweep:
    """The facts and all finished runs, in the order of rows, tasks, seeds."""

    facts: SweepFacts
    runs: tuple[Run, ...]

    def of(self, row: str, task: str) -> list[Run]:
        """The runs of a row on a task, by seed."""
        return [run for run in self.runs if (run.row, run.task) == (row, task)]

    def on(self, task: str) -> list[Run]:
        """The runs on a task."""
        return [run for run in self.runs if run.task == task]

    def readings(self, task: str) -> list[dict[str, Any]]:
        """The evaluations on a task that the table is read from."""
        steps = [run.step_at(at) for run in self.on(task) for at in self.facts.remaining]
        return [step for step in steps if step is not None]

    @cached_property
    def dense_rows(self) -> frozenset[str]:
        """Rows that are not pruned: what pruning is measured from, not a way of pruning."""
        pruned = {run.row for run in self.runs if not run.dense_only}
        return frozenset({run.row for run in self.runs} - pruned)

    @cached_property
    def metrics(self) -> dict[str, str]:
        """What the metric of each task that has a run is called."""
        return {run.task: metric_name(run.results["metric"]) for run in reversed(self.runs)}

    @cached_property
    def languages(self) -> dict[str, tuple[str, ...]]:
        """By task, the zero-shot languages that every run evaluated wherever the table is read.

        Only means over the same languages can be compared: a run may evaluate a few of them at a
        step in between and all of them at the last.
        """
        return {task: common_languages(self.readings(task)) for task in self.facts.tasks}

    @cached_property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """By task, the zero-shot languages that some, but not all of those evaluations have."""
        found = {}
        for task in self.facts.tasks:
            seen = {name for step in self.readings(task) for name in step["languages"]}
            found[task] = tuple(sorted(seen - {ENGLISH, *self.languages[task]}))
        return found

    @cached_property
    def lacking(self) -> dict[str, tuple[str, ...]]:
        """By task, the languages of XGLUE's score that one of those evaluations or more lacks."""
        return {
            task: tuple(
                name
                for name in paper.languages(task)
                if any(name not in step["languages"] for step in self.readings(task))
            )
            for task in self.facts.tasks
        }


def read_sweep(facts: SweepFacts, runs: Sequence[FinishedRun]) -> Sweep:
    """Read results.json and results.csv of every run; one with a damaged file counts as failed.

    Raises:
        UserError: two runs have the same place in the table; runs on one task were scored by
            different metrics or on different splits.
        ValueError: a run's row or task is not among those of `facts`.
    """
    found: dict[tuple[int, int, int], Run] = {}
    scored: dict[str, tuple[str, str]] = {}
    damaged = []
    for source in runs:
        try:
            scores = read_rows(source.workdir / "results.csv", COLUMNS)
            run = Run(source, read_results(source.workdir), scores)
        except UserError as error:
            name = f"{source.row} on {source.task}, seed {source.seed}"
            damaged.append((name, str(error)))
            continue
        place = (facts.rows.index(run.row), facts.tasks.index(run.task), run.seed)
        if place in found:
            raise UserError(
                f"{source.workdir}: {found[place].source.workdir} is the same run:"
                f" {run.row} on {run.task}, seed {run.seed}"
            )
        found[place] = run
        kind = (run.results["metric"], run.split)
        if scored.setdefault(run.task, kind) != kind:
            raise UserError(
                f"{source.workdir / 'results.json'}: {kind[0]} on {kind[1]}, but other runs on"
                f" {run.task} have {' on '.join(scored[run.task])}; they cannot share a table"
            )
    facts = replace(facts, failed=(*facts.failed, *damaged))
    return Sweep(facts, tuple(found[place] for place in sorted(found)))


def common_languages(steps: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The languages other than English that all evaluations have, sorted."""
    sets = [set(step["languages"]) for step in steps]
    return tuple(sorted(set.intersection(*sets) - {ENGLISH})) if sets else ()


def zero_shot(step: Mapping[str, Any], languages: Sequence[str]) -> float | None:
    """The mean score over the given languages; None for no languages."""
    if not languages:
        return None
    return float(sum(step["languages"][name] for name in languages) / len(languages))


def all_languages(step: Mapping[str, Any], languages: Sequence[str]) -> float | None:
    """The mean score over all of the given languages; None for none, or if one was not evaluated.

    Over the languages of a task of XGLUE, English among them, this is XGLUE's score.
    """
    scores = step["languages"]
    if not set(languages) <= set(scores):
        return None
    return means({name: scores[name] for name in languages})["avg"]


def english(step: Mapping[str, Any]) -> float | None:
    """The score of the language that was trained on."""
    return step["languages"].get(ENGLISH)
