"""Training on a GPU or TPU: examples per second, and the share of the peak that they are.

    python benchmarks/accelerator.py                   # every part, within 8 minutes
    python benchmarks/accelerator.py --parts base large --budget 1200
    python benchmarks/accelerator.py --small           # does the script work? also on a CPU

bfloat16 compute, float32 parameters, everything trainable, dropout on, random ids: of one length,
or like XNLI's pairs. The peak is what a large bfloat16 matrix product reaches in the same run, and
a step counts as its matrix products (3 times those of the forward pass), without the embedding.
Where torch sees a GPU it trains the same batches under torch.compile and autocast. Parts come in
the order of what matters most; at the end of the budget the rest is named and left out.
"""

import argparse
import gc
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch wants some, too

import jax
import jax.numpy as jnp
import numpy as np
from sides import BATCH, STEPS, Job, Ours, Theirs
from train_step import BASE, pair_lengths, plan, random_job, row

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models.xlmr import XlmrConfig

LARGE = replace(BASE, hidden_size=1024, num_layers=24, num_heads=16, intermediate_size=4096)
ACTIVE = 40_000  # rows of the word embedding that a fine-tuning set uses
REPEATS = 3


def flops(config: XlmrConfig, length: int) -> float:
    """Floating-point operations of one example's training step, in matrix products."""
    kernels = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    attention = 2 * length * config.hidden_size  # logits, and their product with the values
    return 3 * 2 * config.num_layers * length * (kernels + attention)


def peak(size: int) -> float:
    """Operations per second of a bfloat16 matrix product."""
    matrix = jnp.ones((size, size), jnp.bfloat16)
    product = jax.jit(lambda left, right: (left @ right) / size)

    def several() -> None:
        result = matrix
        for _ in range(10):
            result = product(result, matrix)
        result.block_until_ready()

    return 10 * 2 * size**3 / seconds(several)


def seconds(work: Callable[[], object]) -> float:
    """The least of several times, after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


class Bench:
    """What the parts have in common."""

    def __init__(self, small: bool):
        self.base, self.large = BASE, LARGE
        if small:
            thin = {"vocab_size": 1000, "hidden_size": 96, "intermediate_size": 192}
            self.base = replace(BASE, **thin, num_layers=2)
            self.large = replace(LARGE, **thin, num_layers=3, num_heads=12)
        self.small, self.steps = small, 2 if small else STEPS
        self.peak = peak(512 if small else 8192)
        self.torch = False
        if importlib.util.find_spec("torch"):
            import torch

            self.torch = torch.cuda.is_available() or small

    def job(self, config: XlmrConfig, length: int, batch: int, **changes: object) -> Job:
        """Rows of one length."""
        wide = random_job(config, np.full(batch * 4, length))
        return replace(wide, unroll=False, batch=batch, dtype="bfloat16", **changes)

    def dispatch(self, job: Job, length: int) -> Dispatch:
        """As many steps as go into one dispatch."""
        rows = np.arange(job.batch * self.steps, dtype=np.int32) % job.rows.rows
        return Dispatch(length, rows.reshape(self.steps, job.batch))

    def time(self, side: Ours | Theirs, parts: list[Dispatch]) -> float:
        """Seconds of all dispatches."""
        return seconds(lambda: [side.train(part) for part in parts])

    def compare(self, name: str, job: Job, parts: list[Dispatch], work: float) -> None:
        """A row: ours, PyTorch's, the ratio, and our share of the peak."""
        examples = sum(part.rows.size for part in parts)
        ours = examples / self.time(Ours(job), parts)
        gc.collect()
        theirs, ratio = "-", "-"
        if self.torch:
            rate = examples / self.time(Theirs(job, compiled=not self.small), parts)
            theirs, ratio = f"{rate:.0f}", f"{ours / rate:.2f}"
            gc.collect()
        row(name, f"{ours:.0f}", theirs, ratio, f"{ours * work / self.peak:.0%}")

    def sizes(self, name: str, config: XlmrConfig) -> Iterator[None]:
        """Throughput at each batch and length."""
        shapes = ((32, 128), (256, 128), (32, 32), (256, 32), (32, 256), (256, 256))
        for batch, length in ((4, 16), (8, 16)) if self.small else shapes:
            job = self.job(config, length, batch)
            title = f"{name}, {batch} x {length}"
            self.compare(title, job, [self.dispatch(job, length)], flops(config, length))
            yield

    def xnli(self) -> Iterator[None]:
        """Batches at lengths like XNLI's, in buckets."""
        lengths = pair_lengths(BATCH * (2 if self.small else 64))
        job = replace(random_job(self.base, lengths), unroll=False, dtype="bfloat16")
        parts = plan(job, 1 if self.small else 8, self.steps)
        work = float(np.mean([flops(self.base, part.length) for part in parts]))
        self.compare("base, lengths like XNLI's", job, parts, work)
        yield

    def changes(self) -> Iterator[None]:
        """One thing at a time against the plain step: seeds, vocabulary, penalties, attention."""
        length = 16 if self.small else 128
        for batch in (4, 8) if self.small else (32, 256):
            plain = self.job(self.base, length, batch)
            without = self.time(Ours(plain), [self.dispatch(plain, length)])
            active = 500 if self.small else ACTIVE
            cut = self.job(replace(self.base, vocab_size=active), length, batch)
            variants = {
                f"{active:,} rows of the embedding": cut,
                "frobenius": replace(plain, regularizer="frobenius"),
                "cosine": replace(plain, regularizer="cosine"),
                "no attention dropout": replace(plain, attention_dropout=0.0),
            }
            if jax.devices()[0].platform == "gpu":
                variants["no attention dropout, cuDNN"] = replace(
                    plain, attention_dropout=0.0, attention="cudnn"
                )
            if batch < 256:
                variants["five seeds"] = replace(plain, seeds=5)
            for name, job in variants.items():
                gc.collect()
                with_ = self.time(Ours(job), [self.dispatch(job, length)])
                figure = f"{with_ / without:.3f} of the plain step"
                row(f"base, {batch} x {length}: {name}", figure, "", "", "")
                yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--budget", type=float, default=450, help="seconds (default 450)")
    parser.add_argument("--parts", nargs="+", choices=("base", "xnli", "changes", "large"),
                        default=("base", "xnli", "changes", "large"))  # fmt: skip
    options = parser.parse_args()
    end = time.monotonic() + options.budget
    device = jax.devices()[0]
    bench = Bench(options.small)
    print(f"jax {jax.__version__} on {device.platform} ({device.device_kind}), ", end="")
    print(f"{bench.peak / 1e12:.2f} TFLOP/s in a bfloat16 product; torch: {bench.torch}\n")
    row("what", "ours, examples/s", "torch", "ratio", "of the peak")
    row(*["---"] * 5)
    parts = {
        "base": lambda: bench.sizes("base", bench.base),
        "xnli": bench.xnli,
        "changes": bench.changes,
        "large": lambda: bench.sizes("large", bench.large),
    }
    for name in options.parts:
        for _ in parts[name]():
            if time.monotonic() > end:
                print(f"\nThe budget is spent in {name}: what comes after is left out.")
                return
    print("\nThe pruning step: python benchmarks/prune_step.py")


if __name__ == "__main__":
    main()
