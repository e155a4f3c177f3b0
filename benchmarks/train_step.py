"""Compare training and evaluation with PyTorch: same encoder, same batches, one run.

    pip install torch                               # not a dependency of the package
    python benchmarks/train_step.py                 # everything: half an hour on 2 idle cores
    python benchmarks/train_step.py --small         # does the script work? figures mean little
    python benchmarks/train_step.py --parts demo base regularizers compile
    python benchmarks/train_step.py --parts demo --unrolled  # model.unroll=12, not 1
    taskset -c 0 python benchmarks/train_step.py --parts demo --dtype bfloat16  # by autocast there

Ours and theirs live in processes of their own and take turns, batches by batches, so that other
work on the machine slows both; the least time of every turn counts, compilation and warm-up do not.
PyTorch runs transformers' XLMRobertaForSequenceClassification under torch.optim.AdamW with its
default settings (fused on a GPU), each batch padded to its longest row, dropout on, as many threads
as cores, and the same leaves trainable. A ratio above 1 says that ours is faster. The pruning step
has its own benchmark, benchmarks/prune_step.py.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jobs import BASE, BATCH, STEPS, Job, count, pair_lengths, plan, random_job
from sides import HEAD, Ours, Theirs
from workers import Worker

from alignreg_jax.data import encoding, sources, tasks
from alignreg_jax.data.batching import Dispatch, bucket_edges, evaluation_plan
from alignreg_jax.models import checkpoints

FINE = bucket_edges(256, per_doubling=4)  # lengths in evaluation

Order = tuple[Worker, str, Any]  # the third is mostly a Dispatch


def least(turns: Sequence[Sequence[Order]], repeats: int) -> np.ndarray:
    """Least seconds of every order; the orders of a turn follow each other. The first is warm-up.

    Returns:
        `[turns, orders in a turn]`.
    """
    for turn in turns:
        for worker, what, dispatch in turn:
            worker(what, dispatch)
    times = [
        [[worker(what, dispatch)[0] for worker, what, dispatch in turn] for turn in turns]
        for _ in range(repeats)
    ]
    return np.min(times, axis=0)


def demo_job(folder: Path, languages: bool) -> Job:
    """The bundled encoder, exported for both; English training rows, or all test rows."""
    source = checkpoints.resolve("demo")
    dataset = sources.load(tasks.get_task("intents"), source="demo", data_dir=None, languages=None)
    labels = len(dataset.labels)
    loaded = checkpoints.load(source, head=HEAD, labels=dataset.labels, seed=0)
    if not (folder / "config.json").exists():
        checkpoints.save(
            folder, loaded.params, loaded.config, head=HEAD, labels=dataset.labels, source=source
        )
    tokenizer = encoding.load_tokenizer(source, loaded.config.vocab_size)
    splits = list(dataset.test.values()) if languages else [dataset.train]
    rows = encoding.concatenate([encoding.encode(split, tokenizer, 64) for split in splits])
    return Job(loaded.config, folder, labels, ("embeddings",), rows)


def row(*cells: str) -> None:
    """A line of a markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def compare(title: str, job: Job, sizes: tuple[int, int], repeats: int, shuffled: bool) -> None:
    """Train both on one sample; with `shuffled`, PyTorch also on batches in random order."""
    ours, theirs = Worker(Ours, job), Worker(Theirs, job)
    sample = plan(job, *sizes)
    turns = [[(ours, "train", part), (theirs, "train", part)] for part in sample]
    times = least(turns, repeats).sum(axis=0)
    rates = count(sample) / times
    show = [f"{rate:.1f}" for rate in rates]
    row(title, "examples/s, same batches", *show, f"{rates[0] / rates[1]:.2f}")
    if shuffled:
        drawn = plan(job, *sizes, bucketed=False)
        rate = count(drawn) / least([[(theirs, "train", part)] for part in drawn], repeats).sum()
        label = "examples/s, PyTorch in random order"
        row(title, label, show[0], f"{rate:.1f}", f"{rates[0] / rate:.2f}")
    peaks = ours.close(), theirs.close()
    row(title, "peak memory, GiB", *(f"{peak:.1f}" for peak in peaks), f"{peaks[1] / peaks[0]:.2f}")


def evaluation(job: Job, batch: int, dispatches: int, repeats: int) -> None:
    """Predict the same batches of real rows of all languages; the classes must agree."""
    ours, theirs = Worker(Ours, job), Worker(Theirs, job)
    whole = evaluation_plan(
        job.rows.lengths, batch_size=batch, edges=FINE, steps_per_dispatch=STEPS
    )
    whole = whole[:: max(1, len(whole) // dispatches)]
    agree = [np.mean(ours("evaluate", part)[1] == theirs("evaluate", part)[1]) for part in whole]
    turns = [[(ours, "evaluate", part), (theirs, "evaluate", part)] for part in whole]
    rates = count(whole) / least(turns, repeats).sum(axis=0)
    what = f"examples/s, evaluation; same class in {np.mean(agree):.2%}"
    row("demo encoder", what, *(f"{rate:.0f}" for rate in rates), f"{rates[0] / rates[1]:.2f}")
    ours.close(), theirs.close()


def regularizers(job: Job, length: int, repeats: int) -> None:
    """What each regularizer adds to a step.

    A penalty on the weights is timed alone: at base size a step takes half a minute on a CPU, and
    two of them differ by more than the penalty costs. Gates change the step itself, so there the
    whole step is compared.
    """
    steps = Dispatch(length, np.arange(BATCH, dtype=np.int32)[None])
    plain, gated = Worker(Ours, job), Worker(Ours, replace(job, regularizer="l0-target"))
    without, with_ = least([[(plain, "train", steps), (gated, "train", steps)]], repeats)[0]
    gated.close()
    shape = f"{BATCH} x {length}"
    row("no regularizer", f"s per step, {shape}", f"{without:.2f}", "", "")
    for name in ("cosine", "cosine-layer", "frobenius", "l2", "l2sp"):
        cost = least([[(plain, "regularize", name)]], 5)[0, 0]
        row(name, "s added to a step", f"{cost:.3f}", "", f"{cost / without:+.1%}")
    row("l0-target", f"s per step, {shape}", f"{with_:.2f}", "", f"{with_ / without - 1:+.1%}")
    plain.close()


def vocabulary(job: Job, active: int, repeats: int) -> None:
    """A step that trains the whole word embedding against one that trains the rows in use."""
    ids = job.rows.ids % active
    cut = replace(
        job, config=replace(job.config, vocab_size=active), rows=replace(job.rows, ids=ids)
    )
    sides = [Worker(Ours, cut), Worker(Ours, job)]
    part = Dispatch(int(job.rows.lengths.max()), np.arange(BATCH, dtype=np.int32)[None])
    seconds = least([[(side, "train", part) for side in sides]], repeats)[0]
    peaks = [side.close() for side in sides]
    row(f"{active:,} of {job.config.vocab_size:,} rows", "s per step; ours: cut, other: whole",
        *(f"{each:.2f}" for each in seconds), f"{seconds[1] / seconds[0]:.2f}")  # fmt: skip
    row("the same", "peak memory, GiB", *(f"{peak:.1f}" for peak in peaks),
        f"{peaks[1] / peaks[0]:.2f}")  # fmt: skip


def several_seeds(job: Job, seeds: int, steps: int, repeats: int) -> None:
    """Seeds side by side in one program against one of them."""
    sides = [Worker(Ours, replace(job, seeds=number)) for number in (1, seeds)]
    parts = plan(job, 4, steps)
    turns = [[(side, "train", part) for side in sides] for part in parts]
    one, all_ = least(turns, repeats).sum(axis=0)
    for side in sides:
        side.close()
    row("demo encoder", f"s for {seeds} seeds; other: {seeds} times one", f"{all_:.1f}",
        f"{seeds * one:.1f}", f"{seeds * one / all_:.2f}")  # fmt: skip
    row("demo encoder", f"{seeds} seeds, in times of one", f"{all_ / one:.2f}", "", "")


def compilation(job: Job, lengths: Sequence[int]) -> None:
    """First call minus second, for each bucket length; XLA's cache on disk is off."""
    ours = Worker(Ours, job)
    for length in lengths:
        one = Dispatch(length, np.arange(BATCH, dtype=np.int32)[None])
        first, second = ours("train", one)[0], ours("train", one)[0]
        row("demo encoder", f"s to compile length {length}", f"{first - second:.1f}", "", "")
    ours.close()


PARTS = (
    "demo", "base", "xnli", "regularizers", "evaluation", "compile", "vocabulary", "seeds"
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=5, help="the least of so many (default 5)")
    parser.add_argument("--unrolled", action="store_true", help="all layers, not model.unroll=1")
    parser.add_argument("--vocabulary", type=int, default=BASE.vocab_size, help="of base size")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        sys.exit(
            "benchmarks/train_step.py compares with PyTorch: pip install torch, then run again"
        )
    small, repeats = options.small, 1 if options.small else options.repeats
    base = replace(BASE, vocab_size=options.vocabulary)
    if small:
        base = replace(base, vocab_size=1000, hidden_size=96, intermediate_size=192, num_layers=2)
    shape = asdict(base)
    print(
        f"base: vocabulary {shape['vocab_size']:,}, all trainable; demo: embeddings frozen, as in"
    )
    print("configs/demo.py. Load, 1 minute:", f"{os.getloadavg()[0]:.1f}; {os.cpu_count()} cores\n")

    form: dict[str, Any] = {"unroll": options.unrolled, "dtype": options.dtype}

    def wide(length: int) -> Job:
        return replace(random_job(base, np.full(BATCH * 4, length)), **form)

    with tempfile.TemporaryDirectory() as folder:
        demo = replace(demo_job(Path(folder), languages=False), **form)
        pairs = replace(random_job(base, pair_lengths(BATCH * 40)), **form)
        for worker in (Worker(Ours, demo), Worker(Theirs, demo)):
            print(worker("device")[1], flush=True)
            worker.close()
        print()
        row("what", "figure", "ours", "PyTorch", "ratio")
        row(*["---"] * 5)
        parts: dict[str, Callable[[], None]] = {
            "demo": lambda: compare(
                "demo encoder", demo, (1, 2) if small else (12, STEPS), repeats, True
            ),
            # More than one step in a dispatch, as in a run: each pays once for fresh memory. Of
            # XNLI's lengths every dispatch of an epoch gives two
            "base": lambda: compare("base, 32 x 128", wide(128), (1, 2), repeats, False),
            "xnli": lambda: compare(
                "base, lengths like XNLI's", pairs, (2, 1) if small else (8, 2), repeats, False
            ),
            "evaluation": lambda: evaluation(
                replace(demo_job(Path(folder), languages=True), dtype=options.dtype),
                64,
                1 if small else 4,
                repeats,
            ),
            "compile": lambda: compilation(demo, (8,) if small else (8, 12, 16, 24, 32)),
            "regularizers": lambda: regularizers(wide(128), 128, repeats),
            "vocabulary": lambda: vocabulary(wide(32), 500 if small else 40_000, repeats),
            "seeds": lambda: several_seeds(demo, 2 if small else 5, 1 if small else 4, repeats),
        }
        for name in options.parts:
            parts[name]()
    print(f"\nLoad at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
