"""What a model weighs and takes beside what it scores: of a deployed one, and at every size."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignreg_jax.errors import UserError
from alignreg_jax.reporting import figures
from alignreg_jax.reporting.page import Part, drawing, paragraph, table
from alignreg_jax.reporting.rendering import sentences
from alignreg_jax.reporting.results import read_json
from alignreg_jax.reporting.run_tables import worst
from alignreg_jax.reporting.tables import Entry, Table, percent

FACTS, SIZES = "deploy.json", "sizes.json"
SCORES = ("zero-shot mean (%)", "worst language (%)", "English (%)")
FOLDER = "served"  # where in a run's workdir a deployed model is looked for


def read(folder: Path) -> dict[str, Any]:
    """What `alignreg deploy` wrote about its folder.

    Raises:
        UserError: the folder is none of its, or the file is damaged.
    """
    path = folder / FACTS
    facts = read_json(path, "a folder that alignreg deploy has written")
    if not facts.get("models") or not isinstance(facts.get("kept"), str):
        raise UserError(f"{path}: not what alignreg deploy writes")
    return facts


def of_run(workdir: Path) -> dict[str, Any] | None:
    """What is known of the model of a run where it was deployed to its folder; None elsewhere.

    Raises:
        UserError: the file is damaged.
    """
    folder = workdir / FOLDER
    return read(folder) if (folder / FACTS).exists() else None


def chosen(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The form that is the one to take."""
    by_name = {model["name"]: model for model in facts["models"]}
    return by_name.get(facts["kept"], facts["models"][-1])


def deployed(facts: Mapping[str, Any]) -> list[Part]:
    """Every form that was tried, with size and time, and what languages lost by the one kept."""
    lines = []
    for model in facts["models"]:
        compared = model["compared"].values()
        shares = [each["flips"] / each["answers"] for each in compared if each["answers"]]
        refused = ", ".join(facts["refused"].get(model["name"], ()))
        times = {f"{at} ms": f"{model['milliseconds'].get(at, 0):.1f}" for at in facts["shapes"]}
        gate = Entry("kept", best=True) if model["name"] == facts["kept"] else refused or "–"
        lines.append(
            {
                "form": model["name"],
                "MB": f"{model['bytes'] / 1e6:.1f}",
                **times,
                "en": _score(model["en"]),
                "zero-shot": _score(model["zero_shot_avg"]),
                "worst": _score(model["worst"] and model["worst"]["value"]),
                "changed %": percent(max(shares, default=None)),
                "gate": gate,
            }
        )
    note = sentences("run_words.txt", "deployed_note", facts)
    parts = [table(Table.of(lines, *note), "Before and after it was deployed")]
    models = [(model["name"], model) for model in facts["models"] if model["name"] != "dense"]
    parts += costs(points(models, facts["shapes"]), "served")
    lines, kept = [], chosen(facts)
    for language, each in kept["compared"].items():
        before, after = each.get("scores") or (None, None)
        gap = each.get("difference")
        lines.append(
            {
                "language": language,
                "answers": str(each["answers"]),
                "changed %": percent(each["flips"] / each["answers"] if each["answers"] else None),
                "before": _score(before),
                "served": _score(after),
                "95 % of the difference": f"{gap[0]:+.1f} … {gap[1]:+.1f}" if gap else "–",
            }
        )
    if lines:
        parts.append(table(Table.of(lines), f"Every language, served as {kept['name']} (%)"))
    return parts


def sizes(found: Mapping[str, Any]) -> list[Part]:
    """The sizes of a model that serves every size, by export/sizes.json."""
    lines, rows = [], {}
    for one in found["sizes"]:
        lines.append(
            {
                "size": f"{one['size']:g}",
                "encoder %": percent(one["encoder_weights"]),
                "million parameters": f"{one['parameters'] / 1e6:.1f}",
                "MB": f"{one['megabytes']:.1f}",
                "en": percent(one["en"]),
                "zero-shot": percent(one["zero_shot_avg"]),
                "worst": worst(one),
            }
        )
        lowest = (one["worst"] or {}).get("value")
        scores = (one["zero_shot_avg"], lowest, one["en"])
        rows[f"size {one['size']:g}"] = (one["megabytes"], *scores)
    drawn = pd.DataFrame.from_dict(rows, "index", dtype=float, columns=["MB", *SCORES])
    drawn[[*SCORES]] *= 100
    return [table(Table.of(lines)), *costs(drawn, "sizes")]


def points(models: Sequence[tuple[str, Mapping[str, Any]]], shapes: Sequence[str]) -> pd.DataFrame:
    """What deployed models cost beside what they score; NaN for what was not measured.

    Of the times those for the first of `shapes` and for the last: one short row, many long ones.
    """
    shapes = list(dict.fromkeys((*shapes[:1], *shapes[-1:])))
    rows = [
        (
            model["bytes"] / 1e6,
            *(model["milliseconds"].get(shape) or None for shape in shapes),
            *(model["zero_shot_avg"], model["worst"] and model["worst"]["value"], model["en"]),
        )
        for _, model in models
    ]
    columns = ["MB", *(f"ms ({shape})" for shape in shapes), *SCORES]
    return pd.DataFrame(rows, [name for name, _ in models], columns, dtype=float)


def front(models: pd.DataFrame, cost: str, score: str) -> list[str]:
    """Who is worth having: nobody costs as little and scores as much, one of them better."""
    known = models[[cost, score]].dropna().itertuples()
    found, least = [], np.inf
    for name, cheap, _ in sorted(known, key=lambda one: (-one[2], one[1])):
        if cheap < least:
            found, least = [*found, str(name)], cheap
    return found


def several(runs: Iterable[tuple[str, Path]], name: str) -> list[Part]:
    """What rows of a sweep weigh and take, each the mean over its seeds that were deployed.

    `name` is of the figures, unique in a page; `runs` are (row, workdir): those without a folder
    that `alignreg deploy` wrote are passed over, and a damaged one is named.
    """
    parts, kept, shapes = [], [], []
    for row, workdir in runs:
        try:
            facts = of_run(workdir)
        except UserError as error:
            parts.append(paragraph(f"Not counted: {error}"))
            continue
        if facts:
            shapes = shapes or facts["shapes"]
            kept.append((row, chosen(facts)))
    if not kept:
        return parts
    groups = points(kept, shapes).rename_axis("row").groupby(level="row", sort=False)
    means = groups.agg("mean")
    cells = (means / 100).map(percent).assign(deployed=groups.size().map(str))
    best = {cost: front(means, cost, SCORES[0]) for cost in means.columns.drop([*SCORES])}
    note = sentences("run_words.txt", "front_note", {"best": best, "score": SCORES[0][:-4]})
    return [*parts, table(Table.of_frame(cells, *note)), *costs(means, name)]


def costs(models: pd.DataFrame, name: str) -> list[Part]:
    """Scores against each of the costs, a point a model: as of `points`, a model a line."""
    parts = []
    for number, cost in enumerate(models.columns.drop([*SCORES])):
        known = models.loc[models[cost].notna()]
        scores = [score for score in SCORES if known[score].notna().any()]
        if len({*known[cost]}) < 2 or not np.nan_to_num(known[scores]).any():
            continue
        spoken = f"Scores against {cost}: " + "; ".join(
            f"{who} {x:.1f}: {', '.join(map(_score, found))}"
            for who, x, *found in known[[cost, *scores]].itertuples()
        )
        figure = figures.costs(known, cost, scores)
        parts.append(drawing(figure, f"{name}{number}", spoken, f"Scores against {cost}."))
    return parts or [paragraph("Nothing was measured that could be drawn.", "note")]


def _score(value: float | None) -> str:
    return percent(value and value / 100)
