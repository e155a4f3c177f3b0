"""How much faster a shrunk encoder is than the whole one: training and evaluation, in one run.

    python benchmarks/smaller.py           # the demo's encoder and lengths
    python benchmarks/smaller.py --base    # XLM-R base on rows of 128 pieces, too: 10 GB of memory
    python benchmarks/smaller.py --small   # does the script work? figures mean little

Sizes are shares of the encoder's weights. Weights are random, as speed does not depend on them.
Each row lives in a process of its own and they take turns, batches by batches, so that other work
on the machine slows all; the least time of every turn counts, compilation does not.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jobs import BASE, BATCH, Job, count, plan, random_job
from sides import Ours
from train_step import demo_job, least, row
from workers import Worker

from alignreg_jax.compress.forms import encoder_weights
from alignreg_jax.models.xlmr import XlmrConfig


def shapes(whole: XlmrConfig) -> dict[str, XlmrConfig]:
    """Architectures by name; the first is what the others are compared with."""
    layers, heads, ffn = whole.num_layers, whole.num_heads, whole.intermediate_size

    def sized(*shares: float) -> XlmrConfig:
        """Of every layer in turn a share of its heads and of its feed-forward units."""
        own = [shares[layer % len(shares)] for layer in range(layers)]
        return whole.with_sizes([round(heads * s) for s in own], [round(ffn * s) for s in own])

    # Heads are a third of the weights, so a quarter of the feed-forward units makes a half of all
    stock = whole.with_sizes([heads] * layers, [ffn // 4] * layers)
    return {
        "whole": whole,
        "half of heads and units": sized(0.5),
        "a quarter of heads and units": sized(0.25),
        "half, layers by turns 3/4 and 1/4": sized(0.75, 0.25),
        "half, all heads (stock)": stock,
        "half, every second layer (stock)": replace(whole, num_layers=layers // 2),
    }


def compare(title: str, job: Job, sizes: tuple[int, int], repeats: int) -> None:
    """Time all shapes on one sample of batches."""
    found = shapes(job.config)
    sides = {
        name: Worker(Ours, replace(job, config=own, folder=None)) for name, own in found.items()
    }
    sample = plan(job, *sizes)
    seconds = [
        least([[(side, what, part) for side in sides.values()] for part in sample], repeats).sum(0)
        for what in ("train", "evaluate")
    ]
    peaks = [side.close() for side in sides.values()]
    rows, whole = count(sample), encoder_weights(job.config)
    for name, train, evaluate, peak in zip(found, *seconds, peaks, strict=True):
        share = f"{100 * encoder_weights(found[name]) / whole:.0f} %"
        rates = [f"{rows / train:.1f}", f"{seconds[0][0] / train:.2f}"]
        rates += [f"{rows / evaluate:.1f}", f"{seconds[1][0] / evaluate:.2f}"]
        row(title, name, share, *rates, f"{peak:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--repeats", type=int, default=3, help="the least of so many (default 3)")
    parser.add_argument("--base", action="store_true", help="XLM-R base, too: 10 GB of memory")
    options = parser.parse_args()
    print(
        f"load, 1 minute: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores; {BATCH} rows a step\n"
    )
    row("encoder", "shape", "weights", "trained/s", "x", "evaluated/s", "x", "peak GiB")
    row(*["---"] * 8)
    with TemporaryDirectory() as folder:
        job = demo_job(Path(folder), languages=False)
        sizes = (1, 2) if options.small else (3, 8)
        compare("demo", job, sizes, 1 if options.small else options.repeats)
    if options.base:
        job = random_job(replace(BASE, vocab_size=20_000), np.full(2 * BATCH, 128))
        compare("base, 128 pieces", job, (1, 1), options.repeats)


if __name__ == "__main__":
    main()
