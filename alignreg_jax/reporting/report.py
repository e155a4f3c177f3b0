"""report.html of a run, from the files in its workdir and nothing else.

`python -m alignreg_jax.reporting.report WORKDIR` writes it again.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from alignreg_jax.errors import UserError
from alignreg_jax.reporting import figures, series, served
from alignreg_jax.reporting.metric_names import first_word, metric_name
from alignreg_jax.reporting.page import Part, Section, drawing, page, paragraph, table
from alignreg_jax.reporting.results import Results, read_json, read_results
from alignreg_jax.reporting.run_tables import (
    languages_table,
    other_metrics_table,
    steps_table,
    tags_table,
)
from alignreg_jax.reporting.run_words import notes, said
from alignreg_jax.reporting.svg import png
from alignreg_jax.reporting.tables import count, percent
from alignreg_jax.reporting.tracking import METRICS_FILE, Event, read_events
from alignreg_jax.support.files import atomic_write

REPORT_FILE = "report.html"
PICTURE_FILE = "accuracy.png"


def write_report(
    workdir: str | Path, out: Path | None = None, deployed: Path | None = None
) -> Path:
    """Write `workdir`/report.html, and its first figure as accuracy.png; returns the former.

    Args:
        workdir: of the run.
        out: the page's file instead; then there is no picture.
        deployed: what `alignreg deploy` wrote; else `workdir`/served, where that is there.

    Raises:
        UserError: the folder lacks results.json or config.json, or one of them is damaged.
    """
    workdir = Path(workdir)
    results, config = read_results(workdir), read_json(workdir / "config.json")
    events = read_events(workdir / METRICS_FILE)
    place, sizes = deployed or workdir / served.FOLDER, workdir / "export" / served.SIZES
    found = deployed is not None or (place / served.FACTS).exists()
    facts = served.read(place) if found else None
    known = read_json(sizes) if sizes.exists() else None
    path = out or workdir / REPORT_FILE
    atomic_write(path, report_html(results, events, config, facts, known))
    if len(results["prune_steps"]) > 1 and out is None:
        atomic_write(workdir / PICTURE_FILE, png(_overview(results)))
    return path


def refresh(workdir: Path, deployed: Path) -> None:
    """Write a run's report again, if it has one and its model was deployed to `workdir`/served."""
    if deployed.resolve() == (workdir / served.FOLDER).resolve() and (
        (workdir / REPORT_FILE).exists()
    ):
        write_report(workdir)


def report_html(
    results: Results,
    events: Sequence[Event],
    config: Mapping[str, Any],
    deployed: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Any] | None = None,
) -> str:
    """The report as one document; the same input gives the same text.

    `deployed` is what deploy.json says of the run's model, `sizes` export/sizes.json.
    """
    first, last = results["prune_steps"][0], results["prune_steps"][-1]
    title = f"{results['method']} on {results['task']}"
    steps = len(results["prune_steps"]) - 1
    first_words = [paragraph(_finding(results), "finding")]
    first_words += map(paragraph, notes(events))
    tables = [
        table(steps_table(results), f"Every evaluation: {metric_name(results['metric'])}"),
        table(languages_table(results), "Every language"),
    ]
    tables += [
        table(found, caption)
        for found, caption in (
            (other_metrics_table(results), "Other metrics (%)"),
            (tags_table(results, "en"), "Every tag in English"),
            (tags_table(results, "zero_shot"), "Every tag in the zero-shot languages"),
        )
        if found
    ]
    sections: list[Section] = [
        (
            f"{first_word(metric_name(results['metric']))} against remaining weights",
            _accuracy(results) if steps else [],
        ),
        ("Results", tables),
        ("What each size weighs", served.sizes(sizes) if sizes else []),
        ("As it is served", served.deployed(deployed) if deployed else []),
        ("Weights by module and layer", _weights(events)),
        ("Training", _training(events)),
        ("How it was made", _origin(results, config)),
    ]
    facts = _key_facts(results, first, last)
    return page(title, " ".join(said("lead", results)), first_words, sections, facts)


def _key_facts(results: Results, first: Results, last: Results) -> list[tuple[str, str, str, str]]:
    metric = metric_name(results["metric"])
    worst = last["worst"]
    after = f"{metric} (%), dense → pruned" if first is not last else f"{metric} (%)"

    def change(key: str) -> str:
        values = [first[key]] if first is last else [first[key], last[key]]
        return " → ".join(percent(value) for value in values)

    found = []
    if first["en"] is not None or last["en"] is not None:
        found.append(("en", "English", change("en"), after))
    zero_shot = _zero_shot(last)
    if zero_shot:
        comparable = first if _zero_shot(first) == zero_shot else {"zero_shot_avg": None}
        ends = [last] if first is last else [comparable, last]
        label = f"Zero-shot mean, {count(len(zero_shot), 'language')}"
        label = label if len(zero_shot) > 1 else f"Zero-shot, {zero_shot[0]}"
        values = " → ".join(percent(step["zero_shot_avg"]) for step in ends)
        found.append(("mean", label, values, after))
        lowest = f"{worst['language']} {percent(worst['value'])}"
        found.append(("", "Worst language", lowest, f"{metric} (%)"))
    whole = f"nonzero {percent(last['nonzero'])} %, whole model"
    whole += f" {percent(last['remaining_total'])} %"
    found.append(("", "Encoder weights remaining", f"{percent(last['remaining'])} %", whole))
    return found


def _finding(results: Results) -> str:
    """What the figures show, in two sentences; nothing of what was not measured."""
    others = series.ends(results).drop(series.ENGLISH, errors="ignore").dropna()
    told = [f"{name} ({percent(a)} → {percent(z)})" for name, a, z, _ in others.itertuples()]
    loses = any(z < a and percent(a) != percent(z) for _, a, z, _ in others[:1].itertuples())
    return " ".join(said("finding", results, ends=told, loses=loses))


def _accuracy(results: Results) -> list[Part]:
    scores = series.scores(results)
    common, partial = series.common_languages(scores), scores.isna().any(axis=None)
    caption, panels, spoken = said("accuracy", results, common=common, partial=partial)
    small = figures.languages(scores, series.ends(results), chance=results["chance"])
    return [
        drawing(_overview(results), "accuracy", spoken, caption),
        drawing(small, "languages", "One panel per language", panels),
    ]


def _overview(results: Results) -> Figure:
    return figures.accuracy(
        series.scores(results),
        series.ends(results),
        series.full_means(results),
        chance=results["chance"],
        title=f"{metric_name(results['metric'])} on the {results['split']} set (%)",
    )


def _zero_shot(step: Results) -> list[str]:
    """The languages other than English that a step evaluated."""
    return sorted(name for name in step["languages"] if name != series.ENGLISH)


def _weights(events: Sequence[Event]) -> list[Part]:
    norms = series.per_layer(events, "weight_norms")
    kept = series.per_layer(events, "remaining_by_layer")
    parts = []
    if norms:
        figure = figures.weight_norms(norms[0][1], norms[-1][1] if len(norms) > 1 else None)
        spoken = "Line chart of the norm of six modules by encoder layer, dense and pruned"
        caption = (
            "Frobenius norm of each module’s weights by layer (the paper’s Figure 7). The two"
            " feed-forward matrices are larger than the others, and so are their norms."
        )
        parts.append(drawing(figure, "norms", spoken, caption))
    if kept:
        step, fractions = kept[-1]
        shares = np.concatenate([*fractions.values()])
        low, high = (percent(float(f(shares)), 0) for f in (np.min, np.max))
        text = f"Percent of weights that remain in each matrix after pruning step {step['phase']}"
        if np.ptp(shares) < 1e-3:  # exact counts differ by less than one weight in a thousand
            text += f": {percent(float(shares[0]))} in every one. It is flat because pruning is"
            parts.append(paragraph(f"{text} layer-wise: every matrix loses the same share."))
        else:
            text += f". They differ, from {low} to {high} %: the matrices compete with one another."
            parts.append(drawing(figures.remaining_by_layer(fractions), "kept", text, text))
    return parts


def _training(events: Sequence[Event]) -> list[Part]:
    loss, penalty = series.trace(events, "task_loss"), series.trace(events, "penalty")
    if not len(loss.steps):
        return []
    cuts = [(e["step"], float(e["remaining"])) for e in events if e["kind"] == "prune"]
    shown = penalty if np.any(penalty.values) else None
    caption = "Each point is the mean over neighbouring steps; a dashed line is a pruning, with"
    caption += " what remains after it."
    if shown is None:
        caption += " The method adds no penalty to the loss."
    spoken = "Line chart of the training loss against the step, with the prunings marked"
    return [drawing(figures.training(loss, shown, cuts), "training", spoken, caption)]


def _origin(results: Results, config: Mapping[str, Any]) -> list[Part]:
    """How to get the same again: command, configuration, versions."""
    times = [
        (results.get("wall_seconds"), "{:,.0f} s from start to report"),
        (results.get("examples_per_second"), "{:,.0f} training examples per second"),
    ]
    text = ", ".join(form.format(value) for value, form in times if value is not None)
    rest = {key: value for key, value in config.items() if key != "command"}
    listing = Part("code", "\n".join(f"{name} = {value}" for name, value in flat(rest)))
    return [
        *([paragraph(f"{text}.")] if text else []),
        *([Part("code", config["command"])] if config.get("command") else []),
        Part("closed", listing, "Configuration, versions and machine"),
    ]


def flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, JSON value)."""
    found = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, json.dumps(value, ensure_ascii=False)))
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the report of the workdir that is the only argument; the exit code is 0 or 2."""
    try:
        if len(arguments) != 1:
            raise UserError("usage: python -m alignreg_jax.reporting.report WORKDIR")
        print(write_report(arguments[0]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
