"""One structure for all languages, or one for each: scores side by side, and what they share.

The settings of structured pruning of multilingual models (Li et al. 2022): importance of heads and
feed-forward units is measured on the text of all languages, or on that of the language alone that a
network is for. Rows of a sweep that differ in nothing but `distill.text_languages` are these.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.charts import FULL
from alignreg_jax.reporting.heat_maps import heat_maps
from alignreg_jax.reporting.sweeps.runs import Run, Sweep
from alignreg_jax.reporting.sweeps.statistics import Interval, t_interval

_OWN = re.compile(r"@distill\.text_languages=\(?([\w-]+),?\)?(?=@|$)")

Kept = Mapping[str, Bool[np.ndarray, "layers _"]]
"""Which heads and feed-forward units a network has, by kind."""


class Rows(NamedTuple):
    """Labels of a sweep's rows.

    Attributes:
        shared: the row of all languages' text.
        own: language -> the row of its text alone.
    """

    shared: str
    own: dict[str, str]


class Language(NamedTuple):
    """Scores of one language, means over seeds: of its own structure, the shared one, and others'.

    `gain` is own minus shared over seeds.
    """

    own: float
    shared: float
    others: float
    gain: Interval


class Compared(NamedTuple):
    """By language, and what is gained on average over languages, with its interval over seeds."""

    languages: dict[str, Language]
    gain: Interval
    seeds: int


def rows_of(labels: Sequence[str]) -> Rows:
    """Find the rows of one language each, and the one that is the same but for that.

    Raises:
        UserError: there is none of either kind, or they are of more than one method.
    """
    own = {found[1]: label for label in labels if (found := _OWN.search(label))}
    shared = {_OWN.sub("", label) for label in own.values()}
    if not own:
        raise UserError("methods: no row has @distill.text_languages=(LANGUAGE)")
    if len(shared) > 1:
        raise UserError(f"methods: rows of languages are of several kinds: {', '.join(shared)}")
    (label,) = shared
    if label not in labels:
        raise UserError(f"methods: {label!r}, the row of all languages, is not there")
    return Rows(label, own)


def compare(sweep: Sweep, rows: Rows, task: str, remaining: float) -> Compared:
    """Compare the settings at a size, over the seeds that every row has.

    Args:
        sweep: with its finished runs.
        rows: of the two settings.
        task: label of the column.
        remaining: share of the encoder's weights.

    Raises:
        UserError: no seed is finished in all rows, or no language of a row was evaluated.
    """
    found = {label: _by_seed(sweep.of(label, task), remaining) for label in _labels(rows)}
    seeds = sorted(set.intersection(*(set(scores) for scores in found.values())))
    if not seeds:
        raise UserError(f"no seed is finished in all rows on {task} at {100 * remaining:g} %")
    evaluated = set.intersection(*(set(found[label][s]) for label in found for s in seeds))
    if not (languages := [language for language in rows.own if language in evaluated]):
        raise UserError(f"none of {', '.join(rows.own)} was evaluated on {task}")
    gains, compared = np.zeros(len(seeds)), {}
    for language in languages:
        scores = {label: np.array([found[label][s][language] for s in seeds]) for label in found}
        mine, shared = scores[rows.own[language]], scores[rows.shared]
        strange = [scores[label] for other, label in rows.own.items() if other != language]
        others = float(np.mean(strange)) if strange else float("nan")
        gain = t_interval((mine - shared).tolist())
        compared[language] = Language(float(mine.mean()), float(shared.mean()), others, gain)
        gains += (mine - shared) / len(languages)
    return Compared(compared, t_interval(gains.tolist()), len(seeds))


def overlap(kept: Sequence[Kept]) -> dict[str, Float[np.ndarray, "networks networks"]]:
    """Share of what two networks keep that both keep (Jaccard), for each kind of unit.

    Chance would give p / (2 - p) where each keeps a share p of each layer.
    """
    found = {}
    for kind in kept[0]:
        flat = np.stack([network[kind].ravel() for network in kept]).astype(float)
        both = flat @ flat.T
        sizes = np.diag(both)
        found[kind] = both / np.maximum(sizes[:, None] + sizes[None] - both, 1)
    return found


def table(compared: Compared) -> str:
    """The comparison as a Markdown table, in points."""
    lines = [
        "| language | own | shared | others' | own - shared |", "|---|---|---|---|---|"
    ]  # fmt: skip
    for name, one in compared.languages.items():
        cells = [f"{100 * value:.1f}" for value in (one.own, one.shared, one.others)]
        lines.append(f"| {name} | {' | '.join(cells)} | {_words(one.gain)} |")
    lines.append(f"| mean of languages | | | | **{_words(compared.gain)}** |")
    return "\n".join(lines) + "\n"


def overlap_figure(
    names: Sequence[str], shares: Mapping[str, Float[np.ndarray, "networks networks"]]
) -> Figure:
    """Heat maps of `overlap`, one for each kind of unit."""
    titles = {"heads": "attention heads", "ffn": "feed-forward units"}
    tables = {f"{titles[kind]} kept by both (%)": FULL * share for kind, share in shares.items()}
    return heat_maps(tables, names, names)


def _labels(rows: Rows) -> list[str]:
    return [rows.shared, *rows.own.values()]


def _by_seed(runs: Sequence[Run], remaining: float) -> dict[int, Mapping[str, float]]:
    """Scores of every language at a size, of each seed that has been there."""
    found = {run.seed: run.step_at(remaining) for run in runs}
    return {seed: step["languages"] for seed, step in found.items() if step is not None}


def _words(gain: Interval) -> str:
    half = "" if gain.half is None else f" ± {100 * gain.half:.1f}"
    return f"{100 * gain.mean:+.1f}{half}"
