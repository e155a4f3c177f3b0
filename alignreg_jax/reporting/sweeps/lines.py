"""From the runs of a sweep to the lines of its figures; plain data, no drawing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from alignreg_jax.pruning.methods import PRESETS, REGULARIZERS
from alignreg_jax.reporting.sweeps.cells import Cells, Place
from alignreg_jax.reporting.sweeps.runs import Run, Sweep, common_languages, english, zero_shot
from alignreg_jax.reporting.sweeps.statistics import Interval, t_interval

Score = Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True)
class Line:
    """The score of a row against what remains: mean over its seeds, and the interval's ends."""

    row: str
    remaining: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def row_lines(sweep: Sweep, task: str, score: Score) -> list[Line]:
    """A line a row, in the order of the table; rows without a point are left out.

    A point is a pruning step at which every seed of the row has the score. Its interval is cut to
    [0, 1], where scores are; with one seed it has no width.
    """
    found = []
    for row in sweep.facts.rows:
        points = _points(sweep.of(row, task), score)
        if points:
            remaining, intervals = zip(*points, strict=True)
            low, high = zip(*(_ends(interval) for interval in intervals), strict=True)
            found.append(Line(row, remaining, tuple(i.mean for i in intervals), low, high))
    return found


def _points(runs: Sequence[Run], score: Score) -> list[tuple[float, Interval]]:
    by_step: dict[int, list[tuple[float, float]]] = {}
    for run in runs:
        for step in run.steps:
            value = score(step)
            if value is not None:
                by_step.setdefault(step["prune_step"], []).append((step["remaining"], value))
    return [
        (float(np.mean([at for at, _ in found])), t_interval([value for _, value in found]))
        for _, found in sorted(by_step.items())
        if len(found) == len(runs)
    ]


def _ends(interval: Interval) -> tuple[float, float]:
    half = interval.half or 0.0
    return max(0.0, interval.mean - half), min(1.0, interval.mean + half)


def every_step_languages(sweep: Sweep, task: str) -> tuple[str, ...]:
    """The zero-shot languages that every evaluation of every run on a task has."""
    return common_languages(step for run in sweep.on(task) for step in run.steps)


def zero_shot_lines(sweep: Sweep, task: str) -> list[Line]:
    """The mean over the languages of `every_step_languages`, a line a row."""
    languages = every_step_languages(sweep, task)
    return row_lines(sweep, task, lambda step: zero_shot(step, languages))


def english_lines(sweep: Sweep, task: str) -> list[Line]:
    """The score of the language that was trained on, a line a row."""
    return row_lines(sweep, task, english)


def language_lines(sweep: Sweep, task: str) -> dict[str, list[Line]]:
    """By language, a line a row; English first, then those whose baseline loses most."""
    steps = [step for run in sweep.on(task) for step in run.steps]
    names = dict.fromkeys(name for step in steps for name in step["languages"])
    found = {
        name: row_lines(sweep, task, lambda step, name=name: step["languages"].get(name))
        for name in names
    }

    def loss(name: str) -> tuple[bool, float, str]:
        lines = {line.row: line for line in found[name]}
        line = lines.get(sweep.facts.baseline) or next(iter(found[name]), None)
        change = line.mean[-1] - line.mean[0] if line else 0.0
        return name != "en", change, name

    return {name: found[name] for name in sorted(found, key=loss)}


class Family(NamedTuple):
    """Rows that are one config field at several values: field, and by method (value, row) each."""

    field: str
    methods: dict[str, list[tuple[float, str]]]

    def default(self, method: str) -> float:
        """The value that a multiple of 1 stands for: the method's own weight, else 1."""
        if self.field != "regularizer.weight":
            return 1.0
        return REGULARIZERS.get(str(PRESETS.get(method, {}).get("regularizer.name")), 0.0) or 1.0


def family(rows: Sequence[str]) -> Family | None:
    """Read labels such as `cosine-mbp@regularizer.weight=10`; None if they are no such family.

    Every label with an @ must override the same single field with a number, and one method at
    least must have two values. Labels without @ are left out: they are what to compare with.
    """
    fields, methods = set(), {}
    for row in rows:
        method, at, override = row.partition("@")
        if not at:
            continue
        name, equals, text = override.partition("=")
        try:
            value = float(text)
        except ValueError:
            return None
        if not equals or not np.isfinite(value) or value < 0:
            return None
        fields.add(name)
        methods.setdefault(method, []).append((value, row))
    if len(fields) != 1 or max(map(len, methods.values())) < 2:
        return None
    return Family(fields.pop(), {method: sorted(found) for method, found in methods.items()})


class Response(NamedTuple):
    """How a score depends on the field: multiples of the default, mean, half an interval each."""

    method: str
    multiples: tuple[float, ...]
    intervals: tuple[Interval, ...]


def responses(found: Family, cells: Cells, task: str, at: float, statistic: str) -> list[Response]:
    """A response a method where the table is read; values without a finished run are left out."""
    answer = []
    for method, values in found.methods.items():
        points = [
            (value / found.default(method), cells[place].interval)
            for value, row in values
            if (place := Place(row, task, at, statistic)) in cells
        ]
        if points:
            multiples, intervals = zip(*points, strict=True)
            answer.append(Response(method, multiples, intervals))
    return answer
