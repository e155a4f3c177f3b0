"""Time one pruning step, scores to masks, against a full sort of the same scores.

    python benchmarks/prune_step.py             # XLM-R base: 84.9 M weights in 72 matrices
    python benchmarks/prune_step.py --small     # a quick check at 1/16 of the size

Compilation is not counted. Ours and the sort alternate in one run, so that other work on the
machine slows both; the ratio is the figure to compare between machines. Our masks break ties and
keep pruned weights pruned; the sort only finds a threshold, which is less work than we do.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from alignreg_jax.pruning import criteria, kernels, masks
from alignreg_jax.pruning.kernels import KERNELS, Kernels, Masks

REMAINING = 0.9**11


def xlmr_kernels(hidden: int) -> Kernels:
    """Random kernels with the shapes of XLM-R base when `hidden` is 768."""
    shapes = dict.fromkeys(KERNELS, (12, hidden, hidden))
    shapes |= {"intermediate": (12, hidden, 4 * hidden), "output": (12, 4 * hidden, hidden)}
    keys = jax.random.split(jax.random.key(0), len(KERNELS))
    return {
        name: 0.05 * jax.random.normal(key, shapes[name])
        for name, key in zip(KERNELS, keys, strict=True)
    }


def sorted_masks(scores: Kernels, current: Masks, keep: masks.Keep, scope: masks.Scope) -> Masks:
    """Threshold by a full sort, as most libraries do."""
    alive = {name: jnp.where(current[name], scores[name], -jnp.inf) for name in KERNELS}
    if scope == "global":
        ordered = jnp.sort(jnp.concatenate([alive[name].ravel() for name in KERNELS]))
        threshold = ordered[ordered.size - keep]
        return {name: alive[name] >= threshold for name in KERNELS}
    new = {}
    for name in KERNELS:
        ordered = jnp.sort(alive[name].reshape(alive[name].shape[0], -1), axis=-1)
        threshold = jnp.take_along_axis(ordered, (ordered.shape[1] - keep[name])[:, None], axis=1)
        new[name] = alive[name] >= threshold[:, :, None]
    return new


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def measure(scope: masks.Scope, weights: Kernels, repeats: int) -> dict[str, float]:
    """Medians of our seconds and the sort's, our first call's, and the counts of weights."""
    dense = masks.ones(weights)
    keep = masks.keep_counts(kernels.sizes(weights), REMAINING, scope)
    scores = jax.block_until_ready(jax.jit(criteria.magnitude)(weights))
    ours = partial(jax.jit(partial(masks.top_k, scope=scope)), scores, dense, keep)
    peer = partial(jax.jit(partial(sorted_masks, scope=scope)), scores, dense, keep)

    first = seconds(ours)
    seconds(peer)
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    counted = masks.statistics(weights, ours())
    counts = {name: counted[name] for name in ("kept", "prunable")}
    return {"ours": mine, "sort": theirs, "first": first, **counts}


def compare(scope: masks.Scope, weights: Kernels, repeats: int) -> None:
    found = measure(scope, weights, repeats)
    mine, theirs = found["ours"], found["sort"]
    print(
        f"{scope:6}  {found['kept']:>10,} of {found['prunable']:,}  "
        f"ours {mine:.3f} s  sort {theirs:.3f} s  ratio {theirs / mine:.1f}  "
        f"(first call, with compilation: {found['first']:.1f} s)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="hidden size 192 instead of 768")
    parser.add_argument("--repeats", type=int, default=5, help="the median of so many (default 5)")
    options = parser.parse_args()
    device = jax.devices()[0]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{device.platform} {device.device_kind}, {os.cpu_count()} cores, load before {load}")
    weights = xlmr_kernels(192 if options.small else 768)
    for scope in ("layer", "global"):
        compare(scope, weights, options.repeats)


if __name__ == "__main__":
    main()
