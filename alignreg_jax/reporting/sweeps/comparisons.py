"""Every row against the baseline: what the seeds say, what the examples say, what survives both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import xglue_predictions
from alignreg_jax.evaluation.examples import PARTS, Parts, ratio
from alignreg_jax.evaluation.metrics import Answers
from alignreg_jax.reporting.sweeps.runs import Run, Sweep, zero_shot
from alignreg_jax.reporting.sweeps.statistics import (
    holm,
    paired_t_test,
    randomisation_test,
    t_interval,
)

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """The zero-shot mean of a row minus the baseline's, over the seeds that both have.

    Attributes:
        row: label of the row.
        task: label of the task.
        remaining: where the table is read.
        difference: mean over seeds, a fraction.
        low: lower end of its 95 % interval over seeds; None with one seed.
        high: upper end.
        p_seeds: of the paired t-test over seeds; None with one seed.
        p_seeds_holm: the same after Holm's correction over all comparisons of the sweep.
        p: of the randomisation test over examples; None where there is none.
        p_holm: the same after Holm's correction over all comparisons of the sweep.
        seeds: how many pairs of runs.
        examples: how many test examples (sentences in token tasks, queries in ranking), over all
            languages; 0 without a test over examples.
    """

    row: str
    task: str
    remaining: float
    difference: float
    low: float | None
    high: float | None
    p_seeds: float | None
    p_seeds_holm: float | None
    p: float | None
    p_holm: float | None
    seeds: int
    examples: int

    @property
    def survives(self) -> bool:
        """Whether both tests, each corrected for the number of comparisons, give p below 0.05."""
        if self.p_holm is None or self.p_seeds_holm is None:
            return False
        return max(self.p_holm, self.p_seeds_holm) < SIGNIFICANT

    @property
    def mark(self) -> str:
        """An arrow up or down where the difference survives."""
        return "" if not self.survives else "↑" if self.difference > 0 else "↓"


def compare(sweep: Sweep) -> list[Comparison]:
    """Compare every pruned row with the baseline on every task, wherever the table is read.

    Rows that are not pruned are no rivals of the baseline and are left out. Without a run of the
    baseline there is nothing to compare.

    Raises:
        UserError: predictions that are incomplete or do not give the score of results.json.
    """
    facts = sweep.facts
    rivals = [row for row in facts.rows if row != facts.baseline and row not in sweep.dense_rows]
    examples = _Examples(sweep)
    found = []
    for remaining in facts.remaining:
        for task in facts.tasks:
            base = _readings(sweep, facts.baseline, task, remaining)
            for row in rivals:
                other = _readings(sweep, row, task, remaining)
                pairs = [(other[seed], base[seed]) for seed in base if seed in other]
                if pairs and sweep.languages[task]:
                    found.append(_comparison(row, task, remaining, pairs, sweep, examples))
    over_seeds = _corrected([comparison.p_seeds for comparison in found])
    over_examples = _corrected([comparison.p for comparison in found])
    return [
        replace(comparison, p_seeds_holm=seeds, p_holm=examples)
        for comparison, seeds, examples in zip(found, over_seeds, over_examples, strict=True)
    ]


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over the tests that there are."""
    known = [p for p in p_values if p is not None]
    corrected = iter(holm(known))
    return [None if p is None else next(corrected) for p in p_values]


Reading = tuple[Run, dict[str, Any]]


def _readings(sweep: Sweep, row: str, task: str, remaining: float) -> dict[int, Reading]:
    """By seed, the run and its evaluation where the table is read."""
    steps = ((run, run.step_at(remaining)) for run in sweep.of(row, task))
    return {run.seed: (run, step) for run, step in steps if step is not None}


def _comparison(
    row: str,
    task: str,
    remaining: float,
    pairs: Sequence[tuple[Reading, Reading]],
    sweep: Sweep,
    examples: "_Examples",
) -> Comparison:
    languages = sweep.languages[task]
    differences = []
    for (_, step), (_, base) in pairs:
        score, other = zero_shot(step, languages), zero_shot(base, languages)
        if score is not None and other is not None:  # as compare() has made sure
            differences.append(score - other)
    interval = t_interval(differences)
    mine, theirs = (
        _by_language([examples.parts(*reading) for reading in side])
        for side in zip(*pairs, strict=True)
    )
    p, count = None, 0
    if mine and theirs:
        p = randomisation_test(list(zip(mine, theirs, strict=True)))
        count = sum(parts.shape[1] for parts in mine)
    ends = (interval.mean, interval.low, interval.high)
    over_seeds = paired_t_test(differences)
    return Comparison(row, task, remaining, *ends, over_seeds, None, p, None, interval.count, count)


def _by_language(seeds: list[list[Parts] | None]) -> list[np.ndarray] | None:
    """Per language the parts of all seeds as one array; None unless every seed has them."""
    known = [parts for parts in seeds if parts is not None]
    if len(known) < len(seeds):
        return None
    return [np.stack(parts) for parts in zip(*known, strict=True)]


class _Examples:
    """The scores of single examples; each run's files are read once."""

    def __init__(self, sweep: Sweep):
        self._languages = sweep.languages
        self._read: dict[tuple[str, str, int, int], list[Parts] | None] = {}

    def parts(self, run: Run, step: dict[str, Any]) -> list[Parts] | None:
        """Per zero-shot language the parts of its score; None where they are not known."""
        key = (run.row, run.task, run.seed, step["prune_step"])
        if key not in self._read:
            self._read[key] = _example_parts(run, step, self._languages[run.task])
        return self._read[key]


def _example_parts(run: Run, step: dict[str, Any], languages: Sequence[str]) -> list[Parts] | None:
    folder = run.source.workdir / "predictions" / str(step["prune_step"])
    take_apart = PARTS.get(run.results["metric"])
    if take_apart is None or not folder.is_dir():
        return None
    found = []
    for language in languages:
        path = folder / f"{language}.{run.split}.txt"
        gold = run.source.gold[run.split, language]
        try:
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"{path}: no such file, though {folder} exists") from None
        said = _answers(content, gold, path)
        parts = take_apart(gold, said, run.source.queries.get((run.split, language), ()))
        score = float(ratio(parts.sum(axis=0)))
        if abs(score - step["languages"][language]) > 1e-9:
            raise UserError(
                f"{path}: gives {score:.6f}, but results.json has"
                f" {step['languages'][language]:.6f}; do the data or the predictions differ?"
            )
        found.append(parts)
    return found


def _answers(content: str, gold: Answers, path: Path) -> Answers:
    """The predictions of a file, as many as there are right answers."""
    in_words = not isinstance(gold[0], str)
    said = xglue_predictions.read(content, in_words=in_words)
    if len(said) != len(gold):
        unit = "sentences" if in_words else "lines"
        raise UserError(f"{path}: {len(said)} {unit} for {len(gold)} examples")
    if in_words:
        for number, (tags, right) in enumerate(zip(said, gold, strict=True), start=1):
            if len(tags) != len(right):
                raise UserError(
                    f"{path}: {len(tags)} tags for {len(right)} words, sentence {number}"
                )
    return said
