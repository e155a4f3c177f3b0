"""What every test example adds to a run's scores, from the predictions that the run kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import xglue_predictions
from alignreg_jax.evaluation.examples import PARTS, Parts, aligned, ratio
from alignreg_jax.evaluation.metrics import Answers
from alignreg_jax.reporting.sweeps.runs import Run, Sweep


class ExampleScores:
    """The scores of single examples; each run's files are read once."""

    def __init__(self, sweep: Sweep):
        self._sweep = sweep
        self._read: dict[tuple[str, str, int, int], list[Parts] | UserError | None] = {}

    def parts(self, run: Run, step: dict[str, Any]) -> list[Parts] | None:
        """Per zero-shot language the parts of its score; None where they are not known.

        Raises:
            UserError: predictions that are incomplete or do not give the score of results.json.
        """
        key = (run.row, run.task, run.seed, step["prune_step"])
        if key not in self._read:
            try:
                self._read[key] = _example_parts(run, step, self._sweep.languages[run.task])
            except UserError as error:  # told with every comparison that it takes away
                self._read[key] = error
            except (ValueError, OSError) as error:  # bytes that are no text, labels that are none
                folder = run.source.workdir / "predictions" / str(step["prune_step"])
                self._read[key] = UserError(f"{folder}: {error}")
        found = self._read[key]
        if isinstance(found, UserError):
            raise found
        return found

    def parallel(self, task: str) -> bool:
        """Whether the languages' rows are the same examples, by their right answers."""
        run = self._sweep.on(task)[0]
        return aligned([run.source.gold[run.split, name] for name in self._sweep.languages[task]])


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


def by_language(seeds: list[list[Parts] | None]) -> list[np.ndarray] | None:
    """Per language the parts of all seeds as one array; None unless every seed has them."""
    known = [parts for parts in seeds if parts is not None]
    if len(known) < len(seeds):
        return None
    return [np.stack(parts) for parts in zip(*known, strict=True)]
