"""Training and evaluation on a GPU or TPU: one command, within 8 minutes.

    python benchmarks/accelerator.py --out h200         # also into h200.md and h200.jsonl
    python benchmarks/accelerator.py --parts defaults --out defaults  # as a run trains by default
    python benchmarks/accelerator.py --parts large --budget 600      # what was left out
    python benchmarks/accelerator.py --small            # does the script work? also on a CPU

bfloat16 products, float32 parameters, everything trainable, dropout on, random ids: of one length,
or like XNLI's pairs. Where torch sees a GPU it does the same batches under torch.compile and
autocast, whose residual stream is float32, as ours is; what either has is printed. The peak is what
a large bfloat16 matrix product reaches in the same run; what counts as work are the matrix products
for tokens that are no padding: of a forward pass, three times in training, without the embedding
and without what is computed twice. Part `defaults` has ours train the rows of the word embedding
that a fine-tuning set uses (model.active_vocabulary), as a run does, and torch all of them.

Rows come in the order of what matters most, and are written as they come. A row that fails,
crashes or hangs says so in the table and the next one starts; one that would not end within the
budget, judged by the last of its kind, is left out and named at the end.
"""

import argparse
import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from measures import Bench, Figure, Figures
from sides import Ours, Theirs

ACTIVE = 40_000  # rows of the word embedding that a fine-tuning set uses
SHAPES = ((32, 128), (256, 128), (32, 32), (256, 32), (32, 256), (256, 256))
BY_DEFAULT = ((32, 32), (32, 48), (32, 128), (256, 48), (256, 128))
KERNELS = {
    "attention in one kernel": {"attention": "fused"},
    "the end of a layer's halves in one kernel": {"norm": "fused"},
    "both kernels": {"attention": "fused", "norm": "fused"},
}
# Seconds that a row may need on an H200, by its kind, without torch and with it
GUESS = {"base": (40, 75), "changes": (40, 40), "penalty": (15, 15), "prune": (20, 20),
         "evaluation": (25, 50), "lengths": (120, 160), "large": (70, 150)}  # fmt: skip
PATIENCE = 2.5  # a row that takes so many times the greater of guess and expectation is stopped


@dataclass(frozen=True)
class Row:
    """One line to measure.

    Attributes:
        part: what selects it on the command line.
        kind: rows of one kind take about equally long.
        name: what it measures.
        measure: does it, told whether to compare with torch.
        torch: whether it can; "if time": when all that comes after will still fit.
    """

    part: str
    kind: str
    name: str
    measure: Callable[[bool], Figures]
    torch: bool | str = False


def rows(bench: Bench, gpu: bool) -> list[Row]:
    """All there is to measure, the most valuable first."""
    few, many, *others = ((4, 16), (8, 16), (4, 8)) if bench.small else SHAPES

    def train(part: str, size: str, shape: tuple[int, int], torch: bool | str) -> Row:
        name = f"{size}, {shape[0]} x {shape[1]}"
        return Row(part, size, name, partial(bench.train, name, sizes[size], *shape), torch)

    def change(what: str, shape: tuple[int, int], new: dict[str, Any], **old: Any) -> Row:
        name = f"base, {shape[0]} x {shape[1]}: {what}"
        measure = partial(bench.change, name, *shape, new, old)
        return Row("changes", "changes", name, lambda torch: measure())

    def penalty(regularizer: str) -> Row:
        name = f"base: {regularizer}, once a step of {many[0]} x {many[1]}"
        measure = partial(bench.penalty, name, regularizer, *many)
        return Row("changes", "penalty", name, lambda torch: measure())

    def prune(scope: str) -> Row:
        name = f"pruning step, {scope}"
        return Row("prune", "prune", name, lambda torch: bench.prune(name, scope))

    def evaluate(part: str, size: str, torch: bool = False, **changes: Any) -> Row:
        name = f"{size}, evaluation, {many[0]} x {many[1]}" + (", without cuDNN" if changes else "")
        measure = partial(bench.evaluate, name, *many, config=sizes[size], **changes)
        return Row(part, "evaluation", name, measure, torch)

    def by_default(shape: tuple[int, int]) -> Row:
        name = f"base, {shape[0]} x {shape[1]}, {active:,} rows of the embedding are active"
        measure = partial(bench.train, name, bench.base, *shape, active=active)
        return Row("defaults", "base", name, measure, True)

    sizes = {"base": bench.base, "large": bench.large}
    active = 500 if bench.small else ACTIVE
    cut = replace(bench.base, vocab_size=active)
    still = {"attention_dropout": 0.0}
    laid_out = {**still, "attention": "einsum"}
    lengths = "base, lengths like XNLI's"
    finer = f"{lengths}, four lengths a doubling"
    shapes = ((4, 8), (4, 16)) if bench.small else BY_DEFAULT
    found = [
        train("base", "base", few, True),
        train("base", "base", many, True),
        *(penalty(regularizer) for regularizer in ("frobenius", "cosine")),
        prune("global"),
        prune("layer"),
        change(f"{cut.vocab_size:,} rows of the embedding", few, {"config": cut}),
        *(change(what, shape, new) for what, new in KERNELS.items() for shape in (few, many)),
        *(
            change("a loop of known length", shape, {"static_loop": True})
            for shape in (few, others[0])
        ),
        change("five seeds", few, {"seeds": 5}),
        evaluate("evaluation", "base", torch=True),
        change("no attention dropout", many, laid_out),
        change("no attention dropout, cuDNN", many, {**still, "attention": "cudnn"}, **laid_out),
        evaluate("evaluation", "base", attention="einsum"),
        Row("xnli", "lengths", lengths, partial(bench.lengths, lengths), True),
        Row("xnli", "lengths", finer, partial(bench.lengths, finer, per_doubling=4)),
        *map(by_default, shapes),
        Row("defaults", "lengths", lengths, partial(bench.lengths, lengths, active=active), True),
        *(train("more", "base", shape, "if time") for shape in others),
        train("large", "large", few, True),
        train("large", "large", many, True),
        evaluate("large", "large", torch=True),
        *(train("large", "large", shape, "if time") for shape in others[::-1]),
    ]
    return [row for row in found if gpu or not re.search("cuDNN|one kernel", row.name)]


PARTS = ("base", "changes", "prune", "evaluation", "xnli", "defaults", "more", "large")


class Report:
    """Lines for people, on the terminal and in a .md file, and for programs in a .jsonl file."""

    def __init__(self, out: Path | None):
        self._files = [] if out is None else [Path(f"{out}.{kind}") for kind in ("md", "jsonl")]
        for file in self._files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("")

    def text(self, line: str = "") -> None:
        """For people."""
        print(line, flush=True)
        self._append(self._files[:1], line)

    def _append(self, files: list[Path], line: str) -> None:
        for path in files:
            with path.open("a", encoding="utf-8") as file:  # closed: nothing is left in a buffer
                file.write(line + "\n")

    def table(self, *cells: str) -> None:
        """A line of the table."""
        self.text("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")

    def record(self, **fields: Any) -> None:
        """For programs."""
        self._append(self._files[1:], json.dumps(fields))

    def row(self, part: str, found: Figures, cost: float) -> None:
        """What one row gave, and the seconds it took."""
        ratio = "" if found.ratio is None else f"{found.ratio:.3f}"
        share = "" if found.share is None else f"{found.share:.1%}"
        against = f"{found.against}: " if found.against else ""
        self.table(
            found.name, found.unit, shown(found.ours), against + shown(found.other), ratio, share
        )
        self.record(part=part, **asdict(found), ratio=found.ratio, seconds=round(cost, 1))


def shown(figure: Figure) -> str:
    """As the table has it."""
    if isinstance(figure, str):
        return figure
    return f"{figure:.3g}" if figure < 100 else f"{figure:.0f}"


class Budget:
    """How long rows took, hence what still fits."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds
        self.took: dict[tuple[str, bool], float] = {}

    def needs(self, row: Row, torch: bool) -> float:
        """Seconds that a row is expected to take: as the last of its kind."""
        return self.took.get((row.kind, torch), GUESS[row.kind][torch])

    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()


def run(bench: Bench, todo: Sequence[Row], budget: Budget, report: Report, torch: bool) -> None:
    """Measure what fits; name the rest."""
    late: list[Row] = []
    for place, row in enumerate(todo):
        with_torch = torch and bool(row.torch)
        if with_torch and row.torch == "if time":
            later = sum(
                budget.needs(each, torch and each.torch is True) for each in todo[place + 1 :]
            )
            with_torch = budget.needs(row, True) + later < budget.left()
        expected = budget.needs(row, with_torch)
        if expected > budget.left():
            late.append(row)
            continue
        start = time.monotonic()
        patience = PATIENCE * max(expected, GUESS[row.kind][with_torch])
        bench.until = min(start + patience, budget.end)
        found = row.measure(with_torch)
        cost = time.monotonic() - start
        report.row(row.part, found, cost)
        if not found.failed:
            budget.took[row.kind, with_torch] = cost
        elif budget.left() <= 0:
            late.append(row)
    if late:
        names = "; ".join(row.name for row in late)
        parts = " ".join(dict.fromkeys(row.part for row in late))
        report.text(f"\nLeft out for lack of time: {names}.\nTo run them: --parts {parts}")
        report.record(left_out=[row.name for row in late])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--budget", type=float, default=450, help="seconds (default 450)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, help="write OUT.md and OUT.jsonl, too")
    options = parser.parse_args()
    # Each side has the card's memory as it needs it: JAX would take three quarters at once, and of
    # what it once took it gives nothing back while it lives. A tenth stays for the other's context.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if "XLA_CLIENT_MEM_FRACTION" not in os.environ:  # the same by its newer name; not both
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", ".9")
    budget, bench = Budget(options.budget), Bench(options.small)
    with tempfile.TemporaryDirectory() as folder:
        # Rows share matrix products, and with a cache what XLA found out about those on the GPU
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", folder)
        try:
            start(bench, budget, options)
        finally:
            bench.stop(Ours, Theirs)


def start(bench: Bench, budget: Budget, options: argparse.Namespace) -> None:
    """Look at the machine, then run."""
    sides = [Ours, Theirs] if importlib.util.find_spec("torch") else [Ours]
    bench.until = min(budget.end, time.monotonic() + 180)  # from a cold disk
    for side in sides:
        bench.ask(side, "device")
    devices = [bench.answer(side) for side in sides]
    if devices[0].startswith("failed"):
        sys.exit(devices[0])
    if " on cpu " in devices[0] and not options.small:
        sys.exit(f"{devices[0]}: no GPU or TPU; --small checks the script")
    torch = len(devices) > 1 and not devices[1].startswith("failed")
    torch = torch and (options.small or not devices[1].endswith("on cpu"))
    streams = {"ours": bench.call(Ours, "residual")}
    if torch:
        streams["torch"] = bench.call(Theirs, "residual")
    bench.until = min(budget.end, time.monotonic() + 60)
    peak = bench.call(Ours, "peak", 512 if options.small else 8192)
    if not isinstance(peak, str):
        bench.peak = peak
        peak = f"{peak / 1e12:.3g} TFLOP/s in a bfloat16 product"
    report = Report(options.out)
    report.text(f"{'; '.join(devices)}{'' if torch else '; no comparison with torch'}\n\n{peak}")
    alike = "" if len(set(streams.values())) == 1 else "; NOT ALIKE: the ratios are not of one work"
    found = ", ".join(f"{side} {dtype}" for side, dtype in streams.items())
    report.text(f"bfloat16 products; residual stream: {found}{alike}\n")
    report.record(
        devices=devices, torch=torch, residual=streams, peak=bench.peak, budget=options.budget
    )
    report.table("what", "unit", "ours", "other", "ours / other", "ours, of the peak")
    report.table(*["---"] * 6)
    todo = [row for row in rows(bench, " on gpu " in devices[0]) if row.part in options.parts]
    run(bench, todo, budget, report, torch)


if __name__ == "__main__":
    main()
