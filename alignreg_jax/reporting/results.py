"""The results of a run as files: every score as a row, and a summary per pruning step."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import tags
from alignreg_jax.evaluation.intervals import wilson
from alignreg_jax.evaluation.summary import means, summarize
from alignreg_jax.reporting.tracking import Event

Results = dict[str, Any]


class Row(NamedTuple):
    """A line of results.csv."""

    prune_step: int
    remaining: float
    split: str
    language: str
    metric: str
    value: float
    examples: int
    nonzero: float
    remaining_total: float


COLUMNS = Row._fields


@dataclass(frozen=True)
class Facts:
    """What the events of a run do not say about it.

    `languages` are all that the task has data for: a pruning step that evaluates fewer is not
    complete. `chance` is the score of guessing, as a fraction.
    """

    task: str
    method: str
    seed: int
    metric: str
    chance: float
    languages: Sequence[str]
    split: str = "test"


def rows(events: Iterable[Event]) -> list[Row]:
    """One row per (prune step, split, language, metric), sorted; the last evaluation counts."""
    found = {}
    for event in events:
        if event["kind"] != "eval":
            continue
        step, remaining = event["phase"], float(event["remaining"])
        weights = (float(event["nonzero"]), float(event["remaining_total"]))
        for split, languages in event["scores"].items():
            for language, metrics in languages.items():
                many = event["examples"][split][language]
                for metric, value in metrics.items():
                    key = (split, language, metric)
                    found[step, *key] = Row(step, remaining, *key, float(value), many, *weights)
    return [found[key] for key in sorted(found)]


def csv_text(events: Iterable[Event]) -> str:
    """The text of results.csv: fractions with every digit, no aggregates."""
    buffer = io.StringIO()  # not pandas, which a run would wait for
    csv.writer(buffer, lineterminator="\n").writerows([COLUMNS, *rows(events)])
    return buffer.getvalue()


def summary(events: Iterable[Event], facts: Facts, **extra: Any) -> Results:
    """The content of results.json; `extra` is added as it is (wall_seconds, versions and so on).

    Per pruning step: the score of every language on the split of `facts`, their means, the worst
    language, and the retention against the dense model (prune step 0) over the same languages; of
    the task's other metrics the means (`other_metrics`), and of a token task's tags the scores in
    English and their means over the other languages (`tags`). A step of a model that serves every
    size has its `size`.
    """
    evaluated = {
        e["phase"]: e for e in events if e["kind"] == "eval" and facts.split in e["scores"]
    }
    dense, dense_low, steps = {}, {}, []
    for prune_step, event in sorted(evaluated.items()):
        by_metric: dict[str, dict[str, float]] = defaultdict(dict)
        for language, metrics in sorted(event["scores"][facts.split].items()):
            for metric, value in sorted(metrics.items()):
                by_metric[metric][language] = float(value)
        if not (scores := by_metric.pop(facts.metric, {})):
            continue
        intervals = _intervals(event, facts, scores)
        if prune_step == 0:
            dense, dense_low = scores, {n: low for n, (low, _) in intervals["languages"].items()}
        by_tag = event.get("tags", {}).get(facts.split)
        steps.append(
            {
                "prune_step": prune_step,
                **({"size": event["size"]} if "size" in event else {}),
                **{
                    name: float(event[name]) for name in ("remaining", "nonzero", "remaining_total")
                },
                **summarize(scores, dense, facts.chance, facts.languages, dense_low),
                "languages": scores,
                "intervals": intervals,
                "other_metrics": {metric: means(found) for metric, found in by_metric.items()},
                **({"tags": tags.summarize(by_tag)} if by_tag else {}),
            }
        )
    return {
        **{name: getattr(facts, name) for name in ("task", "method", "seed")},
        **{name: getattr(facts, name) for name in ("metric", "split", "chance")},
        "prune_steps": steps,
        **extra,
    }


def _intervals(event: Event, facts: Facts, scores: Mapping[str, float]) -> dict[str, Any]:
    """The 95 % intervals over test examples, of the score of `facts` at one pruning step.

    `languages` {language: [low, high]}, and those of `en`, `zero_shot_avg` and `avg`. What a run of
    an earlier version did not write is left out, but for single accuracies, which need no more than
    the number of rows.
    """
    single, languages, of_means = event.get("intervals", {}).get(facts.split), {}, {}
    if single is not None:
        languages = {name: of[facts.metric] for name, of in single.items() if facts.metric in of}
        of_means = event.get("mean_intervals", {}).get(facts.split, {})
    elif facts.metric == "accuracy":
        examples = event["examples"][facts.split]
        languages = {name: wilson(score, examples[name]) for name, score in scores.items()}
    english = {"en": languages["en"]} if "en" in languages else {}
    return {**of_means, "languages": languages, **english}


def seed_folders(folder: Path, file: str = "config.json") -> list[str]:
    """Names of the folders in a workdir that are of one seed each and have a file."""
    return sorted(path.parent.name for path in folder.glob(f"s[0-9]*/{file}"))


def read_json(path: Path, what: str = "the workdir of a run") -> dict[str, Any]:
    """An object that a program has written.

    Raises:
        UserError: there is none, or it is damaged; one line that names the file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; is this {what}?") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: not the JSON of {what}")
    return found


def read_results(workdir: Path) -> Results:
    """The results.json of a run.

    Raises:
        UserError: it is missing or damaged, or nothing was evaluated yet.
    """
    path = workdir / "results.json"
    results = read_json(path)
    if not results.get("prune_steps"):
        raise UserError(f"{path}: no evaluation yet, so there is nothing to report")
    return results
