"""What a model weighs and takes beside what it scores: of a deployed one, and at every size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.reporting import figures
from alignreg_jax.reporting.page import Part, drawing, paragraph, table
from alignreg_jax.reporting.results import read_json
from alignreg_jax.reporting.tables import Entry, Table, percent

FACTS, SIZES = "deploy.json", "sizes.json"
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


def chosen(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The form that is the one to take."""
    by_name = {model["name"]: model for model in facts["models"]}
    return by_name.get(facts["kept"], facts["models"][-1])


def deployed(facts: Mapping[str, Any]) -> list[Part]:
    """Every form that was tried, with size and time, and what languages lost by the one kept."""
    rows = []
    for model in facts["models"]:
        compared = model["compared"].values()
        shares = [100 * each["flips"] / each["answers"] for each in compared if each["answers"]]
        refused = ", ".join(facts["refused"].get(model["name"], ()))
        rows.append(
            [
                model["name"],
                f"{model['bytes'] / 1e6:.1f}",
                *(f"{model['milliseconds'].get(shape, 0):.1f}" for shape in facts["shapes"]),
                *(_score(model[name]) for name in ("en", "zero_shot_avg")),
                _score(model["worst"] and model["worst"]["value"]),
                f"{max(shares):.1f}" if shares else "–",
                Entry("kept", best=True) if model["name"] == facts["kept"] else refused or "–",
            ]
        )
    times = [f"{shape} ms" for shape in facts["shapes"]]
    header = ["form", "MB", *times, "en", "zero-shot", "worst", "others %", "gate"]
    note = (
        f"Times on {facts['machine']}, {facts['threads']} thread, for rows x pieces. Others:"
        " answers that are not those of the float model, in the language with most; a form in which"
        f" a language surely has more than {facts['max_flips']:g} % is refused for those that gate"
        " names. Scores of “dense” are on all rows that the run evaluates, the others’ on those"
        " that were compared, so only these compare with one another."
    )
    points = [
        (
            model["name"],
            {"MB": model["bytes"] / 1e6, f"ms ({facts['shapes'][0]})": _first(model, facts)},
            {"zero-shot mean (%)": model["zero_shot_avg"], "English (%)": model["en"]},
        )
        for model in facts["models"]
        if model["name"] != "dense"
    ]
    parts = [table(Table(header, rows, note=note), "Before and after it was deployed")]
    parts += costs(points, "served")
    kept = chosen(facts)
    rows = []
    for language, each in kept["compared"].items():
        before, after = each.get("scores") or (None, None)
        gap = each.get("difference")
        change = "–" if gap is None else f"{gap[0]:+.1f} … {gap[1]:+.1f}"
        other = 100 * each["flips"] / each["answers"] if each["answers"] else None
        cells = [_score(other), _score(before), _score(after), change]
        rows.append([language, str(each["answers"]), *cells])
    header = ["language", "answers", "others %", "before", "served", "95 % of the difference"]
    if rows:
        parts.append(table(Table(header, rows), f"Every language, served as {kept['name']} (%)"))
    return parts


def sizes(found: Mapping[str, Any]) -> list[Part]:
    """The sizes of a model that serves every size, by export/sizes.json."""
    rows, points = [], []
    for one in found["sizes"]:
        scores = [percent(one[name]) for name in ("en", "zero_shot_avg")]
        worst = one["worst"]
        rows.append(
            [
                f"{one['size']:g}",
                percent(one["encoder_weights"]),
                f"{one['parameters'] / 1e6:.1f}",
                f"{one['megabytes']:.1f}",
                *scores,
                f"{worst['language']} {percent(worst['value'])}" if worst else "–",
            ]
        )
        both = {"zero-shot mean (%)": one["zero_shot_avg"], "English (%)": one["en"]}
        values = {name: None if score is None else 100 * score for name, score in both.items()}
        points.append((f"size {one['size']:g}", {"MB": one["megabytes"]}, values))
    header = ["size", "encoder %", "million parameters", "MB", "en", "zero-shot", "worst"]
    return [table(Table(header, rows), "What each size weighs"), *costs(points, "sizes")]


Point = tuple[str, Mapping[str, float], Mapping[str, float | None]]


def costs(points: Sequence[Point], name: str) -> list[Part]:
    """Scores against each of the costs, a point a model: (name, costs, scores)."""
    parts = []
    for number, cost in enumerate(points[0][1] if len(points) > 1 else ()):
        known = [(who, costs[cost], scores) for who, costs, scores in points if costs[cost] > 0]
        if len({x for _, x, _ in known}) < 2 or not any(y for *_, s in known for y in s.values()):
            continue
        spoken = f"Scores against {cost}: " + "; ".join(
            f"{who} {x:.1f}: " + ", ".join(_score(y) for y in scores.values())
            for who, x, scores in known
        )
        figure = figures.costs(known, cost)
        parts.append(drawing(figure, f"{name}{number}", spoken, f"Scores against {cost}."))
    return parts or [paragraph("Nothing was measured that could be drawn.", "note")]


def _first(model: Mapping[str, Any], facts: Mapping[str, Any]) -> float:
    return float(model["milliseconds"].get(facts["shapes"][0]) or 0.0)


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
