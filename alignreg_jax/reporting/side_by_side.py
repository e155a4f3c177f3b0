"""Two or more runs on one page: scores, languages, what they weigh, and how they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from alignreg_jax.errors import UserError
from alignreg_jax.reporting import figures, series, served
from alignreg_jax.reporting.metric_names import first_word, metric_name
from alignreg_jax.reporting.page import Part, Section, drawing, page, paragraph, table
from alignreg_jax.reporting.report import flat, write_report
from alignreg_jax.reporting.results import Results, read_json, read_results, seed_folders
from alignreg_jax.reporting.run_tables import worst
from alignreg_jax.reporting.run_words import said
from alignreg_jax.reporting.series import ENGLISH, common_languages, mean_over
from alignreg_jax.reporting.tables import Entry, Table, count, percent, with_interval
from alignreg_jax.support.files import atomic_write

_KIND = ("task", "metric", "split")


@dataclass(frozen=True)
class Known:
    """A run with what its files say, under a name that tells it from the others of the page."""

    folder: Path
    results: Results
    config: Mapping[str, Any]
    served: Mapping[str, Any] | None
    name: str = ""

    @property
    def last(self) -> Results:
        """Its last evaluation."""
        return self.results["prune_steps"][-1]


def write(folders: Sequence[Path], out: Path) -> Path:
    """Write the page of several runs to `out`; returns it.

    Raises:
        UserError: a folder is no run, or the runs cannot be compared.
    """
    runs = [
        Known(run, read_results(run), read_json(run / "config.json"), served.of_run(run))
        for run in folders
    ]
    first = runs[0]
    for run in runs[1:]:
        if wrong := [name for name in _KIND if run.results[name] != first.results[name]]:
            mine, theirs = (
                " on ".join(one.results[name] for name in wrong) for one in (run, first)
            )
            raise UserError(
                f"{run.folder}: is of {mine}, but {first.folder} of {theirs}; give runs alike"
            )
    named = zip(runs, _names(runs), strict=True)
    atomic_write(out, html([replace(run, name=name) for run, name in named]))
    return out


def report(folders: Sequence[Path], out: Path | None, deployed: Path | None) -> Path:
    """The report of one run again, or the page of several.

    Args:
        folders: workdirs.
        out: the file to write; else report.html in the one workdir, or here for several.
        deployed: a folder that `alignreg deploy` wrote of the one run.
    """
    for folder in folders:
        seeds = seed_folders(folder, "results.json")
        if seeds and not (folder / "results.json").exists():
            raise UserError(f"{folder}: holds seeds ({', '.join(seeds)}); give {folder / seeds[0]}")
    if out is not None and not out.absolute().parent.is_dir():
        raise UserError(f"--out={out}: {out.absolute().parent} is no folder")
    if out is not None and out.is_dir():
        raise UserError(f"--out={out}: is a folder; give a file in it")
    if len(folders) == 1:
        return write_report(folders[0], out, deployed)
    if deployed is not None:
        raise UserError("--served: is of one run; of several it is looked for in RUN/served")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("RUN: one run is given twice")
    return write(folders, out or Path("report.html"))


def html(runs: Sequence[Known]) -> str:
    """The page; the same input gives the same text."""
    results = runs[0].results
    metric = first_word(metric_name(results["metric"]))
    common = common_languages(pd.concat([series.scores(run.results) for run in runs]))
    (lead,) = said("side_by_side", results, runs=len(runs), common=common)
    words = "Each run is one training: differences between runs are also those of their seeds."
    sections: list[Section] = [
        ("Side by side", [table(_summary(runs, common), "In percent, after the last step")]),
        (f"{metric} against remaining weights", _figures(runs, common)),
        ("Every language", [table(_languages(runs), "Score after the last step (%)")]),
        ("As they are served", _costs(runs)),
        ("How they differ", [_settings(runs)]),
    ]
    title = f"{count(len(runs), 'run')} on {results['task']}"
    return page(title, lead, [paragraph(words)], sections)


def _names(runs: Sequence[Known]) -> list[str]:
    """The method, with the seed or the folder where that is needed to tell runs apart."""
    names = [run.results["method"] for run in runs]
    for more in (
        lambda run: f"seed {run.results['seed']}",
        lambda run: run.folder.name,
        lambda run: str(run.folder),
    ):
        names = [
            name if names.count(name) == 1 else f"{run.results['method']}, {more(run)}"
            for name, run in zip(names, runs, strict=True)
        ]
    return names


def _summary(runs: Sequence[Known], common: Sequence[str]) -> Table:
    best = {name: max(run.last[name] or 0 for run in runs) for name in ("en", "zero_shot_avg")}
    alike = len({frozenset(run.last["languages"]) for run in runs}) == 1
    means = [mean_over(series.scores(run.results), common) for run in runs]
    same = [float(mean.iloc[-1]) if common else float("nan") for mean in means]
    lines = []
    for run, mean in zip(runs, same, strict=True):
        last, ends = run.last, run.last.get("intervals", {})
        shown = {
            name: Entry(
                with_interval(last[name], ends.get(name)),
                # Means over other languages are no better and no worse
                best=last[name] == best[name] and (alike or name == "en"),
            )
            for name in best
        }
        seconds = run.results.get("wall_seconds")
        lines.append(
            {
                "run": run.name,
                "seed": str(run.results["seed"]),
                "steps": str(len(run.results["prune_steps"]) - 1),
                "remaining": percent(last["remaining"]),
                "en": shown["en"],
                "zero-shot": shown["zero_shot_avg"],
                f"same {len(common)}": Entry(percent(mean), best=not alike and mean == max(same)),
                "worst": worst(last),
                "zero-shot kept": percent(last["retention"]["zero_shot_avg"]),
                "seconds": "–" if seconds is None else f"{seconds:,.0f}",
            }
        )
    note = "±: half of the 95 % interval over test examples; another training would differ by more."
    return Table.of(lines, note)


def _figures(runs: Sequence[Known], common: Sequence[str]) -> list[Part]:
    chance, parts = runs[0].results["chance"], []
    scores = {run.name: series.scores(run.results) for run in runs}
    small: dict[str, dict[str, pd.Series]] = {}
    for run, found in scores.items():
        for language in map(str, found):
            small.setdefault(language, {})[run] = found.loc[:, language]
    panels = {"English (%)": small[ENGLISH]} if ENGLISH in small else {}
    if common:
        means = {run: mean_over(found, common) for run, found in scores.items()}
        panels = {"zero-shot mean (%)": means, **panels}
    if panels:
        caption = f"The mean is over {', '.join(common) or 'no language'}."
        figure = figures.side_by_side(panels, chance=chance, small=False)
        parts.append(drawing(figure, "runs", "Scores of every run against weights", caption))
    figure = figures.side_by_side(small, chance=chance, small=True)
    caption = "One panel per language, a line a run."
    return [*parts, drawing(figure, "languages", caption, caption)]


def _languages(runs: Sequence[Known]) -> Table:
    scores = pd.DataFrame({run.name: run.last["languages"] for run in runs})
    lines = []
    for name in sorted(map(str, scores.index), key=lambda name: (name != ENGLISH, name)):
        top = scores.loc[name].max()
        cells = {run: Entry(percent(x), best=bool(x == top)) for run, x in scores.loc[name].items()}
        lines.append({"language": name, **cells})
    return Table.of(lines)


def _costs(runs: Sequence[Known]) -> list[Part]:
    """Megabytes and milliseconds of the runs that were deployed."""
    shown = {run.name: served.chosen(run.served) for run in runs if run.served}
    if not shown:
        return []
    shapes = [*next(iter(shown.values()))["milliseconds"]]
    points = served.points([*shown.items()], shapes).rename_axis("run")
    kept = Table.of_frame((points / 100).map(percent))
    return [table(kept, "The form that was kept"), *served.costs(points, "served")]


def _settings(runs: Sequence[Known]) -> Part:
    """The fields of the configurations that are not the same in all."""
    fields = {run.name: dict(flat(run.config.get("config", {}))) for run in runs}
    found = pd.DataFrame(fields).fillna("–").sort_index().rename_axis("field")
    differs = found.loc[found.nunique(axis=1) > 1]
    if differs.empty:
        return paragraph("Their configurations are the same.")
    shown = replace(Table.of_frame(differs), names=1 + len(runs))
    return table(shown, "Fields whose values differ")
