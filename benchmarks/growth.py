"""How what a run costs grows with each of its sizes, beside what theory predicts: one command.

    python benchmarks/growth.py --out growth.png     # 16 minutes on 2 idle cores; also prints
    python benchmarks/growth.py --small --out x.png  # does the script work? figures mean little

From one point (12 layers of the demo encoder's form, 32 rows of 32 pieces, 5,000 active pieces, one
seed) one size is changed at a time. Theory is: seconds = operations / rate + parameters * cost. Its
two constants are fitted to the curve of the batch and to nothing else, so that the other lines are
predictions. Operations are those of matrix products, forward and backward (Kaplan et al. 2020, and
what attention adds with the square of the length); `parameters` are those that AdamW moves.

What is answered without training (a language that is evaluated, a text that a teacher speaks about)
costs a third of the operations and moves nothing. Bytes between devices: benchmarks/scaling.py.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jobs import STEPS, Job, random_job
from measures import flops
from sides import Ours
from timed import least
from train_step import row

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models.xlmr import XlmrConfig

BATCH, LENGTH, ROWS = 32, 32, 4096
SHAPE = XlmrConfig(5_000, 384, 12, 12, 1536, 514)


@dataclass(frozen=True)
class Point:
    """A run's sizes."""

    shape: XlmrConfig = SHAPE
    length: int = LENGTH
    batch: int = BATCH
    seeds: int = 1
    rows: int = ROWS
    answered: int = 0  # rows that are answered, in place of a training step

    @property
    def operations(self) -> float:
        """Of the matrix products of a step, or of what is answered."""
        rows = self.answered or 3 * self.seeds * self.batch
        return rows * flops(self.shape, np.array([self.length]))

    @property
    def moved(self) -> float:
        """Parameters that an update reads and writes."""
        shape = self.shape
        hidden, inner = shape.hidden_size, shape.intermediate_size
        kernels = shape.num_layers * (4 * hidden**2 + 2 * hidden * inner)
        return 0.0 if self.answered else self.seeds * (kernels + shape.vocab_size * hidden)


def curves(small: bool) -> Iterator[tuple[str, str, list[tuple[float, Point]]]]:
    """Name, label of the axis, and the points with their place on it. The batch comes first."""
    start = Point()
    if small:
        start = Point(replace(SHAPE, num_layers=2, hidden_size=48, intermediate_size=96), rows=512)
    shape = start.shape

    def layers(count: int) -> Point:
        return replace(start, shape=replace(shape, num_layers=count))

    def pieces(count: int) -> Point:
        return replace(start, shape=replace(shape, vocab_size=count))

    few = slice(0, 2) if small else slice(None)
    yield "batch", "rows in a step", [(n, replace(start, batch=n)) for n in (8, 16, 32, 64)]
    sizes = (16, 32, 64, 128, 256)[few]
    yield "length", "pieces in a row", [(n, replace(start, length=n)) for n in sizes]
    yield "layers", "layers", [(n, layers(n)) for n in (3, 6, 12, 18)[few]]
    sizes = (1_000, 5_000, 20_000, 50_000)[few]
    yield "vocabulary", "active pieces", [(n, pieces(n)) for n in sizes]
    yield "seeds", "seeds side by side", [(n, replace(start, seeds=n)) for n in (1, 2, 4)[few]]
    sizes = (1_000, 10_000, 100_000, 400_000)[few]
    yield "rows", "training rows", [(n, replace(start, rows=n)) for n in sizes]
    sizes = (512, 1024, 2048, 4096)[few]
    told = "rows answered (evaluated, or by a teacher)"
    yield "answers", told, [(n, replace(start, answered=n, rows=max(n, ROWS))) for n in sizes]


def seconds(point: Point) -> float:
    """The least time of a training step, or of what is answered."""
    rows = max(point.rows, point.batch)
    job = replace(random_job(point.shape, np.full(rows, point.length)), seeds=point.seeds)
    side = Ours(replace(job, batch=point.batch))
    return answering(side, job, point) if point.answered else training(side, point)


def training(side: Ours, point: Point) -> float:
    """Of a step, in dispatches of four."""
    steps = 4
    numbers = np.random.default_rng(0).permutation(side.job.rows.rows)
    numbers = np.resize(numbers, (steps, point.batch)).astype(np.int32)
    part = Dispatch(point.length, numbers)
    return least(lambda: side.train(part)) / steps


def answering(side: Ours, job: Job, point: Point) -> float:
    """Of all rows, in dispatches of 16 batches of 32."""
    numbers = np.arange(point.answered, dtype=np.int32).reshape(-1, BATCH)
    parts = [
        Dispatch(point.length, numbers[at : at + STEPS]) for at in range(0, len(numbers), STEPS)
    ]
    return least(lambda: [side.evaluate(part) for part in parts])


def fit(points: list[Point], found: list[float]) -> np.ndarray:
    """Seconds an operation and seconds a moved parameter, by least squares of the ratios."""
    terms = np.array([[point.operations, point.moved] for point in points])
    scaled = terms / np.array(found)[:, None]
    return np.linalg.lstsq(scaled, np.ones(len(found)), rcond=None)[0]


def draw(drawn: dict[str, tuple[str, list[float], list[float], list[float]]], out: Path) -> None:
    """A panel a curve: what was measured as points, theory as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.4), layout="constrained")
    grid = figure.subplots(2, 4)
    for axes, (label, places, measured, theory) in zip(grid.flat, drawn.values(), strict=False):
        axes.plot(places, theory, color="#888888", label="theory")
        axes.plot(places, measured, "o", color="#0072b2", label="measured")
        axes.set(xlabel=label, xscale="log", yscale="log")
        axes.set_ylim(0.7 * min(measured + theory), 1.4 * max(measured + theory))
        named = [f"{n:,}" if n < 10_000 else f"{n // 1000}k" for n in map(int, places)]
        axes.set_xticks(places, named, minor=False)
        axes.minorticks_off()
    grid[0, 0].set_ylabel("seconds")
    grid[1, 0].set_ylabel("seconds")
    grid[0, 0].legend(frameon=False)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    options = parser.parse_args()
    print(f"load, 1 minute: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores\n")
    row("changed", "to", "seconds", "theory", "measured / theory")
    row(*["---"] * 5)
    constants, drawn = np.zeros(2), {}
    for name, label, points in curves(options.small):
        found = [seconds(point) for _, point in points]
        if name == "batch":
            constants = fit([point for _, point in points], found)
        theory = [float(constants @ (point.operations, point.moved)) for _, point in points]
        for (place, _), real, said in zip(points, found, theory, strict=True):
            row(name, f"{place:,}", f"{real:.3f}", f"{said:.3f}", f"{real / said:.2f}")
        drawn[name] = (label, [place for place, _ in points], found, theory)
    rate, cost = constants
    print(f"\n{1e-9 / rate:.0f} GFLOP/s, {cost * 1e9:.1f} ns a parameter of an update")
    draw(drawn, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
