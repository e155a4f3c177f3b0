#!/usr/bin/env python3
"""Print what goes with the damage that pruning does to a language, and what does not.

    python -m alignreg_jax.probe RUN --text TEXTS --out PROBED
    python tools/damage_by_language.py RUN=PROBED [RUN=PROBED ...] --text TEXTS

RUN was made with --config.export=steps; TEXTS say the same in its languages, as for `alignreg
probe`. Damage is the dense model's score of a language less the pruned one's, in points, English
left out. Beside it: how alike the language and English are inside the dense model, and how much of
that is lost (means over layers), how many pieces a text has for one of its English translation, and
how much of the language the encoder was pretrained on (CC-100, Conneau et al. 2020, Table 6).

Spearman's correlation over languages, the mean of the runs; and with the dense score held fixed,
since what scores high has more to lose. Intervals (95 %) draw languages anew, so they say nothing
of other tasks or encoders.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from tokenizers import Tokenizer

from alignreg_jax.compress.probing import CORRECTED, FIRST, PIVOT
from alignreg_jax.data import parallel

DRAWS, ENDS = 1000, (0.025, 0.975)
CKA = PIVOT.format("en")
CC100 = {
    **{"ar": 28.0, "bg": 57.5, "ca": 10.1, "cs": 16.3, "da": 45.6, "de": 66.6, "el": 46.9},
    **{"es": 53.3, "et": 6.1, "eu": 2.0, "fa": 111.6, "fi": 54.3, "fr": 56.8, "gl": 2.9},
    **{"he": 31.6, "hi": 20.2, "hr": 20.5, "hu": 58.4, "id": 148.3, "it": 30.2, "ja": 69.3},
    **{"ka": 9.1, "ko": 54.2, "lt": 13.7, "lv": 8.8, "nb": 49.0, "nl": 29.3, "pl": 44.6},
    **{
        "pt": 49.1,
        "pt_BR": 49.1,
        "ro": 61.4,
        "ru": 278.0,
        "sk": 23.2,
        "sl": 10.3,
        "sr": 9.1,
        "sv": 85.0,
    },
    **{"ta": 12.2, "te": 4.7, "th": 71.7, "tr": 20.9, "uk": 84.6, "vi": 137.3, "zh": 46.9},
}
"""GiB of text; Chinese in simplified characters."""


def main() -> None:
    """Print a table for every step."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN=PROBED")
    parser.add_argument("--text", nargs="+", required=True)
    arguments = parser.parse_args()
    places = [tuple(map(Path, each.split("=", 1))) for each in arguments.runs]
    texts = parallel.read(arguments.text, "en")
    tokenizer = Tokenizer.from_file(str(places[0][0] / "steps/0/tokenizer.json"))
    counts = {
        language: sum(len(each.ids) for each in tokenizer.encode_batch(list(split.text_a)))
        for language, split in texts.items()
    }
    pieces = pd.Series(counts) / counts["en"]
    runs = [facts(*place, pieces) for place in places]
    for step in sorted(set.intersection(*(set(run) for run in runs))):
        frames = [run[step] for run in runs]
        print(f"step {step}: {len(frames)} runs, {len(frames[0])} languages")
        mean = np.mean([frame.damage.mean() for frame in frames])
        print(f"  damage {mean:+.1f} points on average")
        for name in frames[0].columns.drop(["damage", "dense"]):
            print(
                f"  {name:34}  {said(frames, name, '')}  held fixed {said(frames, name, 'dense')}"
            )


def facts(run: Path, probed: Path, pieces: pd.Series) -> dict[int, pd.DataFrame]:
    """A run's languages and what is known of each, by step."""
    table = pd.read_csv(run / "results.csv").query("split == 'test' and language != 'en'")
    table = table[table.metric == table.metric.iloc[0]]
    scores = 100 * table.pivot(index="language", columns="prune_step", values="value")
    probe = pd.read_csv(probed / "probe.csv").query("layer > 0 and language != 'en'")
    last = scores.columns.max()
    names = probe.model.str.split("/").str[-1].replace("export", str(last)).astype(int)
    inside = probe.assign(step=names).groupby(["step", "measure", "language"]).value.mean()
    found = {}
    for step in scores.columns.drop(0):
        of_dense, now = inside[0].unstack("measure"), inside[step].unstack("measure")
        both = scores.index.intersection(of_dense.index)  # were evaluated, and have a text
        found[int(step)] = pd.DataFrame(
            {
                "damage": scores[0] - scores[step],
                "dense": scores[0],
                "CKA with English, dense": of_dense[CKA],
                "retrieval, dense": of_dense[CORRECTED],
                "lost of CKA with English": of_dense[CKA] - now[CKA],
                "lost of retrieval": of_dense[CORRECTED] - now[CORRECTED],
                "moved: 1 - CKA with the dense one": 1 - now[FIRST],
                "pieces for one of English": pieces.reindex(scores.index),
                "GiB in pretraining": pd.Series(CC100).reindex(scores.index),
            }
        ).loc[both]
    return found


def said(frames: Sequence[pd.DataFrame], name: str, held: str) -> str:
    """A correlation with its interval over languages that are drawn anew."""
    whole = [frame.dropna(subset=[name]) for frame in frames]
    languages, random = len(whole[0]), np.random.default_rng(0)
    draws = random.integers(0, languages, (DRAWS, languages))
    found = correlation(whole, name, held, np.arange(languages))
    if not np.isfinite(found):
        return "the same in all"
    low, high = np.nanquantile([correlation(whole, name, held, rows) for rows in draws], ENDS)
    return f"{found:+.2f} ({low:+.2f} to {high:+.2f})"


def correlation(frames: Sequence[pd.DataFrame], name: str, held: str, rows: np.ndarray) -> float:
    """The mean over runs of Spearman's correlation of damage and a column.

    Args:
        frames: a run each, a language a row.
        name: the column.
        held: another one, whose ranks are held fixed; empty for none.
        rows: which languages, some maybe twice.
    """
    found = []
    for frame in frames:
        x, y = (rankdata(frame[column].to_numpy()[rows]) for column in (name, "damage"))
        if held:
            fixed = rankdata(frame[held].to_numpy()[rows])
            x, y = residual(x, fixed), residual(y, fixed)
        spread = np.std(x) * np.std(y)
        found.append(np.mean((x - x.mean()) * (y - y.mean())) / spread if spread else np.nan)
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def residual(values: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """What a straight line in `fixed` does not tell of `values`."""
    if not np.std(fixed):
        return values
    slope, level = np.polyfit(fixed, values, 1)
    return values - slope * fixed - level


if __name__ == "__main__":
    main()
