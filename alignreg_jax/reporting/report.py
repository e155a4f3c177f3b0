"""report.html of a run, from the files in its workdir and nothing else."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from alignreg_jax.reporting import figures, run_tables, series, served
from alignreg_jax.reporting.metric_names import first_word, metric_name
from alignreg_jax.reporting.page import Part, Section, drawing, page, paragraph, table
from alignreg_jax.reporting.results import Results, read_json, read_results
from alignreg_jax.reporting.run_words import notes, said, serves_sizes
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
    events, sizes = read_events(workdir / METRICS_FILE), workdir / "export" / served.SIZES
    facts = served.read(deployed) if deployed else served.of_run(workdir)
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
    metric, pruned = metric_name(results["metric"]), len(results["prune_steps"]) > 1
    title = f"{results['method']} on {results['task']}"
    first = [paragraph(_finding(results), "finding"), *map(paragraph, notes(events))]
    tables = [
        (run_tables.steps_table(results), f"Every evaluation: {metric}"),
        (run_tables.languages_table(results), "Every language"),
        (run_tables.other_metrics_table(results), "Other metrics (%)"),
        (run_tables.tags_table(results, "en"), "Every tag in English"),
        (run_tables.tags_table(results, "zero_shot"), "Every tag in the zero-shot languages"),
    ]
    sections: list[Section] = [
        (f"{first_word(metric)} against remaining weights", _accuracy(results) if pruned else []),
        ("Results", [table(found, caption) for found, caption in tables if found]),
        ("What each size weighs", served.sizes(sizes) if sizes else []),
        ("As it is served", served.deployed(deployed) if deployed else []),
        ("Weights by module and layer", _weights(results, events)),
        ("Training", _training(results, events)),
        ("How it was made", _origin(results, config)),
    ]
    return page(title, " ".join(said("lead", results)), first, sections, _key_facts(results))


def _key_facts(results: Results) -> list[tuple[str, str, str, str]]:
    first, last = results["prune_steps"][0], results["prune_steps"][-1]
    steps = [last] if first is last else [first, last]
    metric = f"{metric_name(results['metric'])} (%)"
    end = "smallest size" if serves_sizes(results) else "pruned"
    after = metric if first is last else f"{metric}, dense → {end}"
    zero_shot, found = _zero_shot(last), []
    if any(step["en"] is not None for step in steps):
        found.append(("en", "English", " → ".join(percent(step["en"]) for step in steps), after))
    if zero_shot:
        many = f" mean, {count(len(zero_shot), 'language')}"
        label = f"Zero-shot{many if len(zero_shot) > 1 else f', {zero_shot[0]}'}"
        alike = [step["zero_shot_avg"] if _zero_shot(step) == zero_shot else None for step in steps]
        found.append(("mean", label, " → ".join(map(percent, alike)), after))
        found.append(("", "Worst language", run_tables.worst(last), metric))
    whole = f"nonzero {percent(last['nonzero'])} %, whole model"
    whole += f" {percent(last['remaining_total'])} %"
    found.append(("", "Encoder weights remaining", f"{percent(last['remaining'])} %", whole))
    return found


def _finding(results: Results) -> str:
    """What the figures show, in two sentences; nothing of what was not measured."""
    others = series.ends(results).drop(series.ENGLISH, errors="ignore").dropna()
    told = [f"“{name}” ({percent(a)} → {percent(z)})" for name, a, z, _ in others.itertuples()]
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


def _weights(results: Results, events: Sequence[Event]) -> list[Part]:
    norms = series.per_layer(events, "weight_norms")
    kept = series.per_layer(events, "remaining_by_layer")
    parts = []
    if norms:
        figure = figures.weight_norms(norms[0][1], norms[-1][1] if len(norms) > 1 else None)
        parts.append(drawing(figure, "norms", *said("norms", results)))
    if kept:
        step, fractions = kept[-1]
        shares = fractions.to_numpy().ravel()
        even = np.ptp(shares) < 1e-3  # exact counts differ by less than one weight in a thousand
        (text,) = said("kept_by_layer", results, step=step, shares=shares, even=even)
        drawn = [] if even else [drawing(figures.remaining_by_layer(fractions), "kept", text, text)]
        parts += drawn or [paragraph(text)]
    return parts


def _training(results: Results, events: Sequence[Event]) -> list[Part]:
    loss, penalty = series.trace(events, "task_loss"), series.trace(events, "penalty")
    if loss.empty:
        return []
    cuts = [(e["step"], float(e["remaining"])) for e in events if e["kind"] == "prune"]
    shown = penalty if penalty.any() else None
    spoken, caption = said("training", results, penalty=shown is not None, cuts=cuts)
    return [drawing(figures.training(loss, shown, cuts), "training", spoken, caption)]


def _origin(results: Results, config: Mapping[str, Any]) -> list[Part]:
    """How to get the same again: command, configuration, versions."""
    rest = {key: value for key, value in config.items() if key != "command"}
    listing = Part("code", "\n".join(f"{name} = {value}" for name, value in flat(rest)))
    return [
        *map(paragraph, said("times", results)),
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
