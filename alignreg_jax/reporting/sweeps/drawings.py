"""The figures of a sweep with their words: which are drawn, in which order, and what they show."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from alignreg_jax.reporting.sweeps import figures as draw
from alignreg_jax.reporting.sweeps import lines
from alignreg_jax.reporting.sweeps.cells import ENGLISH, ZERO_SHOT, Cells, Place
from alignreg_jax.reporting.sweeps.family_figure import Panel, response_figure
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import Interval
from alignreg_jax.reporting.sweeps.styles import row_styles
from alignreg_jax.reporting.tables import count, percent


class Drawing(NamedTuple):
    """A figure: under which heading, its name in the page, its caption, and itself in words."""

    section: str
    name: str
    figure: Figure
    caption: str
    spoken: str


def figures(sweep: Sweep, cells: Cells) -> list[Drawing]:
    """All figures of a sweep; the first is the one to show where there is room for one.

    That is score against remaining weights, or, where the rows are values of one number, score
    against that number.
    """
    tasks = [task for task in sweep.facts.tasks if sweep.on(task)]
    found = lines.family(sweep.facts.rows)
    answer = [_response(sweep, cells, found, task) for task in tasks] if found else []
    answer += [_overview(sweep, task) for task in tasks]
    answer += [_languages(sweep, task) for task in tasks]
    return [drawing for drawing in answer if drawing is not None]


def _overview(sweep: Sweep, task: str) -> Drawing | None:
    facts = sweep.facts
    means, english = lines.zero_shot_lines(sweep, task), lines.english_lines(sweep, task)
    if not means and not english:
        return None
    languages = lines.every_step_languages(sweep, task)
    what = f"{facts.column(task)}, {sweep.metrics[task]} (%)"
    figure = draw.overview(
        means,
        english,
        row_styles(facts.rows, facts.baseline, sweep.dense_rows),
        readings=facts.remaining,
        chance=_chance(sweep, task),
        title=what,
    )
    many = count(len(languages), "zero-shot language")
    points = "A point is one run."
    if any(line.low != line.high for line in (*means, *english)):
        points = "A point is the mean over seeds, its band the 95 % interval (Student’s t), cut to"
        points += " 0 and 100."
    caption = (
        f"{facts.column(task)}: above, the mean over the {many} that every run evaluated at every"
        f" step ({', '.join(languages)}); below, English, on its own scale. {points} The axis is"
        " logarithmic, so that cuts by the same share are as far apart; hairlines stand where the"
        " table is read. At the right end, the last value of each row."
    )
    heading, name = "Score against remaining weights", _name("overview", task, sweep)
    return Drawing(heading, name, figure, caption, _spoken(what, means))


def _spoken(what: str, found: Sequence[lines.Line]) -> str:
    """The zero-shot panel in words, for those who cannot see it."""
    parts = [
        f"{line.row} {percent(line.mean[0])} at {percent(line.remaining[0], 0)} percent remaining"
        f" and {percent(line.mean[-1])} at {percent(line.remaining[-1], 0)}"
        for line in found
    ]
    return f"Line chart of the zero-shot mean on {what}: {'; '.join(parts)}"


def _languages(sweep: Sweep, task: str) -> Drawing | None:
    facts = sweep.facts
    found = lines.language_lines(sweep, task)
    if not any(found.values()):
        return None
    figure = draw.languages(
        found,
        row_styles(facts.rows, facts.baseline, sweep.dense_rows),
        chance=_chance(sweep, task),
    )
    caption = (
        f"{facts.column(task)}: {sweep.metrics[task]} (%) of every language, mean over seeds, a"
        f" line a row; English first, then the languages that {facts.baseline} loses most of."
    )
    if sweep.dense_rows:
        caption += " Dashed: not pruned."
    return Drawing("Every language", _name("languages", task, sweep), figure, caption, caption)


def _response(sweep: Sweep, cells: Cells, family: lines.Family, task: str) -> Drawing | None:
    facts = sweep.facts
    panels = []
    for statistic, name in ((ZERO_SHOT, "zero-shot mean"), (ENGLISH, "English")):
        panels.append(
            [
                Panel(
                    f"{name} at {percent(at, 0)} % remaining (%)",
                    lines.responses(family, cells, task, at, statistic),
                    _levels(sweep, cells, task, at, statistic),
                )
                for at in facts.remaining
            ]
        )
    if not any(panel.responses for line in panels for panel in line):
        return None
    defaults = ", ".join(f"{family.default(method):g} for {method}" for method in family.methods)
    own = family.field == "regularizer.weight"
    label = f"{family.field}, in multiples of the default" if own else family.field
    caption = f"{facts.column(task)}: score against {family.field}"
    caption += f", as a multiple of its default ({defaults})" if own else ""
    several = any(
        interval.half is not None
        for line in panels
        for panel in line
        for response in panel.responses
        for interval in response.intervals
    )
    caption += ". Bars are 95 % intervals over seeds." if several else "."
    caption += f" The dashed line is {facts.baseline}{', with its interval' if several else ''}."
    figure = response_figure(panels, label)
    heading, name = f"Score against {family.field}", _name("response", task, sweep)
    return Drawing(heading, name, figure, caption, caption)


def _levels(
    sweep: Sweep, cells: Cells, task: str, at: float, statistic: str
) -> list[tuple[str, Interval]]:
    baseline = sweep.facts.baseline
    cell = cells.get(Place(baseline, task, at, statistic))
    return [(baseline, cell.interval)] if cell and "@" not in baseline else []


def _chance(sweep: Sweep, task: str) -> float:
    return float(sweep.on(task)[0].results["chance"])


def _name(kind: str, task: str, sweep: Sweep) -> str:
    """An id that is unique in the page and safe in it."""
    return f"{kind}{sweep.facts.tasks.index(task)}"
