"""What masks that are learned cost: a step of each against a step of magnitude pruning, one run.

    python benchmarks/learned_masks.py           # the demo's encoder and lengths
    python benchmarks/learned_masks.py --base    # XLM-R base, too: 9 minutes, 15 GB of memory
    python benchmarks/learned_masks.py --small   # does the script work? figures mean little

Each row lives in a process of its own and they take turns, batches by batches, so that other work
on the machine slows all; the least time of every turn counts, compilation does not. `every` is
`pruning.mask_every`. All are compared with a step of magnitude pruning that trains all but the
embeddings, as movement pruning does; Static Model Pruning trains no weight of the encoder.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jobs import BASE, BATCH, Job, plan, random_job
from sides import Ours
from train_step import demo_job, least, row
from workers import Worker

from alignreg_jax.config import default_config

EVERY = default_config().pruning.mask_every  # and so many steps a dispatch
EMBEDDINGS, ENCODER = ("embeddings",), ("embeddings", "encoder")


def variants(job: Job, periods: tuple[int, ...]) -> dict[str, Job]:
    """The rows by name; the first is what the others are compared with."""
    plain = replace(job, freeze=EMBEDDINGS)
    found = {"l2-mbp": plain}
    for period in periods:
        learned = replace(plain, criterion="movement", mask_every=period)
        found[f"movement, every {period}"] = learned
        found[f"smp-s, every {period}"] = replace(
            learned, scope="kind", regularizer="scores", freeze=ENCODER
        )
    found["soft-movement, every 1"] = replace(
        plain, criterion="soft-movement", regularizer="scores"
    )
    return found


def compare(
    title: str, job: Job, sizes: tuple[int, int], periods: tuple[int, ...], repeats: int
) -> None:
    """Time all rows on one sample of batches, whose dispatches choose masks in their first step."""
    rows = variants(job, periods)
    sides = {name: Worker(Ours, own) for name, own in rows.items()}
    sample = plan(job, *sizes)
    turns = [[(side, "train", part) for side in sides.values()] for part in sample]
    seconds = least(turns, repeats).sum(axis=0)
    steps = sum(len(part.rows) for part in sample)
    peaks = [side.close() for side in sides.values()]
    for name, own, peak in zip(sides, seconds, peaks, strict=True):
        row(title, name, f"{own / steps:.3f}", f"{own / seconds[0]:.2f}", f"{peak:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--repeats", type=int, default=3, help="the least of so many (default 3)")
    parser.add_argument("--base", action="store_true", help="XLM-R base, too")
    options = parser.parse_args()
    print(
        f"load, 1 minute: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores; {BATCH} rows a step\n"
    )
    row("encoder", "row", "s per step", "of l2-mbp", "peak GiB")
    row(*["---"] * 5)
    with TemporaryDirectory() as folder:
        job = demo_job(Path(folder), languages=False)
        sizes = (1, 2) if options.small else (3, EVERY)
        compare("demo", job, sizes, (1, EVERY), 1 if options.small else options.repeats)
    if options.base:
        for pieces in (32, 64):
            job = random_job(replace(BASE, vocab_size=20_000), np.full(EVERY * BATCH, pieces))
            compare(f"base, {pieces} pieces", job, (1, EVERY), (EVERY,), options.repeats)


if __name__ == "__main__":
    main()
