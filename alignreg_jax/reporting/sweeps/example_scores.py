"""What every test example adds to a run's scores, from the predictions that the run kept."""

from functools import cache
from pathlib import Path

import numpy as np

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import xglue_predictions
from alignreg_jax.evaluation.examples import PARTS, Parts, aligned, ratio
from alignreg_jax.evaluation.metrics import Answers
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import Systems


class ExampleScores:
    """The scores of single examples; each run's files are read once."""

    def __init__(self, sweep: Sweep):
        self._sweep = sweep
        self._parts = cache(self._read)

    def pairs(self, row: str, task: str, remaining: float) -> list[tuple[Systems, Systems]] | None:
        """By zero-shot language the parts of the scores of a row and of the baseline, by seed.

        They are of the seeds that both have; None without any, or where one run has no parts.

        Raises:
            UserError: predictions that are incomplete or do not give the score of results.csv.
        """
        names = (row, self._sweep.facts.baseline)
        read = self._sweep.readings[task].loc[remaining]
        steps = {(name, seed): step for name, seed, step, *_ in read.index}
        both = [seed for name, seed in steps if name == names[1] and (row, seed) in steps]
        sides = [
            [self._parts(name, task, seed, steps[name, seed]) for seed in both] for name in names
        ]
        if not both or any(parts is None for side in sides for parts in side):
            return None
        mine, theirs = ([np.stack(parts) for parts in zip(*side, strict=True)] for side in sides)
        return list(zip(mine, theirs, strict=True)) or None

    def parallel(self, task: str) -> bool:
        """Whether the languages' rows are the same examples, by their right answers."""
        sweep = self._sweep
        run = next(run for (_, of, _), run in sweep.sources.items() if of == task)
        return aligned([run.gold[sweep.kinds[task].split, name] for name in sweep.languages[task]])

    def _read(self, row: str, task: str, seed: int, step: int) -> list[Parts] | None:
        """Per zero-shot language the parts of a run's score; None where they are not known."""
        kind, run = self._sweep.kinds[task], self._sweep.sources[row, task, seed]
        scores = self._sweep.evaluations[task].loc[row, seed, step].iloc[0]
        folder = run.workdir / "predictions" / str(step)
        take_apart = PARTS.get(kind.metric)
        if take_apart is None or not folder.is_dir():
            return None
        found = []
        for language in self._sweep.languages[task]:
            path, gold = folder / f"{language}.{kind.split}.txt", run.gold[kind.split, language]
            try:
                said = _answers(path.read_text(encoding="utf-8"), gold, path)
                queries = run.queries.get((kind.split, language), ())
                parts = take_apart(gold, said, queries)
            except FileNotFoundError:
                raise UserError(f"{path}: no such file, though {folder} exists") from None
            except (ValueError, OSError) as error:  # bytes that are no text, labels that are none
                raise UserError(f"{folder}: {error}") from None
            score = float(ratio(parts.sum(axis=0)))
            if abs(score - scores[language]) > 1e-9:
                raise UserError(
                    f"{path}: gives {score:.6f}, but results.csv has {scores[language]:.6f}; do"
                    " the data or the predictions differ?"
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
