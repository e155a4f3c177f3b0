"""The results of a run as files: every score as a row, and a summary per pruning step."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import tags
from alignreg_jax.evaluation.intervals import wilson
from alignreg_jax.evaluation.summary import means, summarize
from alignreg_jax.reporting.tracking import Event

Results = dict[str, Any]

COLUMNS: tuple[str, ...] = (
    "prune_step",
    "remaining",
    "split",
    "language",
    "metric",
    "value",
    "examples",
    "nonzero",
    "remaining_total",
)


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


def rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """One row per (prune step, split, language, metric), sorted; the last evaluation counts."""
    found = {}
    for event in events:
        if event["kind"] != "eval":
            continue
        for split, languages in event["scores"].items():
            for language, metrics in languages.items():
                for metric, value in metrics.items():
                    key = (event["phase"], split, language, metric)
                    found[key] = {
                        "prune_step": event["phase"],
                        "remaining": float(event["remaining"]),
                        "split": split,
                        "language": language,
                        "metric": metric,
                        "value": float(value),
                        "examples": event["examples"][split][language],
                        "nonzero": float(event["nonzero"]),
                        "remaining_total": float(event["remaining_total"]),
                    }
    return [found[key] for key in sorted(found)]


def csv_text(events: Iterable[Event]) -> str:
    """The text of results.csv: fractions with every digit, no aggregates."""
    buffer = io.StringIO()  # not pandas, which a run would wait for
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(events))
    return buffer.getvalue()


def summary(events: Iterable[Event], facts: Facts, **extra: Any) -> Results:
    """The content of results.json; `extra` is added as it is (wall_seconds, versions and so on).

    Per pruning step: the score of every language on the split of `facts`, their means, the worst
    language, and the retention against the dense model (prune step 0) over the same languages; of
    the task's other metrics the means (`other_metrics`), and of a token task's tags the scores in
    English and their means over the other languages (`tags`). A step of a model that serves every
    size has its `size`.
    """
    events = list(events)
    scores: dict[int, dict[str, dict[str, Any]]] = {}
    others: dict[int, dict[str, dict[str, float]]] = {}
    for row in rows(events):
        if row["split"] == facts.split and row["metric"] == facts.metric:
            scores.setdefault(row["prune_step"], {})[row["language"]] = row
        elif row["split"] == facts.split:
            by_metric = others.setdefault(row["prune_step"], {})
            by_metric.setdefault(row["metric"], {})[row["language"]] = row["value"]
    by_tag = _tags(events, facts.split)
    sizes = {e["phase"]: e["size"] for e in events if e["kind"] == "eval" and "size" in e}
    intervals = _intervals(events, facts, scores)
    dense_low = {name: low for name, (low, _) in intervals.get(0, {}).get("languages", {}).items()}
    dense = {language: row["value"] for language, row in scores.get(0, {}).items()}
    steps = []
    for prune_step, by_language in scores.items():
        values = {language: row["value"] for language, row in by_language.items()}
        row = next(iter(by_language.values()))
        steps.append(
            {
                "prune_step": prune_step,
                **({"size": sizes[prune_step]} if prune_step in sizes else {}),
                "remaining": row["remaining"],
                "nonzero": row["nonzero"],
                "remaining_total": row["remaining_total"],
                **summarize(values, dense or None, facts.chance, facts.languages, dense_low),
                "languages": values,
                "intervals": intervals[prune_step],
                "other_metrics": {
                    metric: means(found) for metric, found in others.get(prune_step, {}).items()
                },
                **({"tags": by_tag[prune_step]} if prune_step in by_tag else {}),
            }
        )
    return {
        "task": facts.task,
        "method": facts.method,
        "seed": facts.seed,
        "metric": facts.metric,
        "split": facts.split,
        "chance": facts.chance,
        "prune_steps": steps,
        **extra,
    }


def _intervals(
    events: Iterable[Event], facts: Facts, scores: Mapping[int, Mapping[str, Mapping[str, Any]]]
) -> dict[int, dict[str, Any]]:
    """By pruning step the 95 % intervals over test examples, of the score of `facts`.

    `languages` {language: [low, high]}, and those of `en`, `zero_shot_avg` and `avg`. What a run of
    an earlier version did not write is left out, but for single accuracies, which need no more than
    the number of rows.
    """
    found: dict[int, dict[str, Any]] = {}
    for step, rows_of_step in scores.items():
        languages = {}
        if facts.metric == "accuracy":
            languages = {
                name: wilson(row["value"], row["examples"]) for name, row in rows_of_step.items()
            }
        found[step] = {"languages": languages}
    for event in events:
        if event["kind"] == "eval" and facts.split in event.get("intervals", {}):
            single = event["intervals"][facts.split]
            languages = {
                name: kept[facts.metric] for name, kept in single.items() if facts.metric in kept
            }
            means_of_step = event.get("mean_intervals", {}).get(facts.split, {})
            found[event["phase"]] = {**means_of_step, "languages": languages}
    for intervals in found.values():
        if "en" in intervals["languages"]:
            intervals["en"] = intervals["languages"]["en"]
    return found


def _tags(events: Iterable[Event], split: str) -> dict[int, dict[str, Any]]:
    """By pruning step what the tags of a token task score; the last evaluation counts."""
    return {
        event["phase"]: tags.summarize(event["tags"][split])
        for event in events
        if event["kind"] == "eval" and split in event.get("tags", {})
    }


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
