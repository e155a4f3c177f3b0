"""One structure for all languages, or one for each: scores side by side, and what they share.

The settings of structured pruning of multilingual models (Li et al. 2022): importance of heads and
feed-forward units is measured on the text of all languages, or on that of the language alone that a
network is for. Rows of a sweep that differ in nothing but `distill.text_languages` are these.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.charts import FULL
from alignreg_jax.reporting.heat_maps import heat_maps
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import intervals
from alignreg_jax.reporting.tables import Entry, Table, markdown_table, percent

_OWN = re.compile(r"@distill\.text_languages=\(?([\w-]+),?\)?(?=@|$)")

Kept = Mapping[str, Bool[np.ndarray, "layers _"]]
"""Which heads and feed-forward units a network has, by kind."""
MEAN = "mean of languages"


class Rows(NamedTuple):
    """Labels of a sweep's rows.

    Attributes:
        shared: the row of all languages' text.
        own: language -> the row of its text alone.
    """

    shared: str
    own: dict[str, str]


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


def compare(sweep: Sweep, rows: Rows, task: str, remaining: float) -> pd.DataFrame:
    """Compare the settings at a size, over the seeds that every row has.

    A line a language, and last their `MEAN`: scores of its `own` structure, of the `shared` one and
    of `others`' ones, means over `seeds`; what its own `gain`s, with `half` of the interval.

    Args:
        sweep: with its finished runs.
        rows: of the two settings.
        task: label of the column.
        remaining: share of the encoder's weights.

    Raises:
        UserError: no seed is finished in all rows, or no language of a row was evaluated.
    """
    labels = [rows.shared, *rows.own.values()]
    seeds, scores = [], pd.DataFrame()
    if task in sweep.readings:
        scores = sweep.readings[task].loc[remaining].droplevel([2, 3, 4])
        scores = scores[scores.index.isin(labels, level="row")]
        rows_of_seed = scores.groupby(level="seed").size()
        seeds = [*rows_of_seed.index[rows_of_seed == len(labels)]]
    if not seeds:
        raise UserError(f"no seed is finished in all rows on {task} at {100 * remaining:g} %")
    whole = scores[scores.index.isin(seeds, level="seed")].dropna(axis=1)
    if not (languages := [language for language in rows.own if language in whole]):
        raise UserError(f"none of {', '.join(rows.own)} was evaluated on {task}")
    gains, compared = {}, {}
    for language in languages:
        mine, shared = (whole[language][row] for row in (rows.own[language], rows.shared))
        strange = [row for other, row in rows.own.items() if other != language]
        others = whole[language][strange].mean()
        gains[language] = mine - shared
        compared[language] = {"own": mine.mean(), "shared": shared.mean(), "others": others}
    gain = pd.DataFrame(gains)
    gain[MEAN] = gain.mean(axis=1)
    spread = intervals(gain.melt(var_name="language").groupby("language").value)
    found = pd.DataFrame.from_dict(compared, orient="index")
    found.loc[MEAN] = found.mean()
    return found.assign(gain=spread["mean"], half=spread.half, seeds=len(seeds))


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


def table(compared: pd.DataFrame) -> str:
    """The comparison as a Markdown table, in points."""
    rows: list[list[str | Entry]] = []
    for name, one in compared.iterrows():
        gain = f"{100 * one.gain:+.1f}" + ("" if np.isnan(one.half) else f" ± {percent(one.half)}")
        scores = map(percent, (one.own, one.shared, one.others))
        rows.append([str(name), *scores, Entry(gain, best=name == MEAN)])
    return markdown_table(Table(["language", "own", "shared", "others'", "own - shared"], rows))


def overlap_figure(
    names: Sequence[str], shares: Mapping[str, Float[np.ndarray, "networks networks"]]
) -> Figure:
    """Heat maps of `overlap`, one for each kind of unit."""
    titles = {"heads": "attention heads", "ffn": "feed-forward units"}
    tables = {f"{titles[kind]} kept by both (%)": FULL * share for kind, share in shares.items()}
    return heat_maps(tables, names, names)
