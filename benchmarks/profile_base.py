"""Break a training step of XLM-R base on a CPU into parts, ours and PyTorch's in one run.

    pip install torch                               # not a dependency of the package
    python benchmarks/profile_base.py               # 8 x 128, 10 minutes on 2 idle cores, 10 GiB
    python benchmarks/profile_base.py --small       # does the script work? figures mean little

Ours is taken from XLA's profiler: the wall time of one step, every instant of it shared among the
operations that run; "untraced" is the time in which none does that left a trace. PyTorch's is the
time of its own operators. Both include what the profilers cost; the first table is without them.
"""

import argparse
import collections
import os
import re
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jobs import BASE, Job, random_job
from sides import Ours, Theirs
from workers import Worker

from alignreg_jax.data.batching import Dispatch

Parts = dict[str, float]

# First match wins; what the operation's name, shape and path in the program tell of its part
OURS = (
    ("dense products", r"^(?!.*bhq)(?=.*(dot_general|^dot)).*XlmrModel"),
    ("attention products", r"bhq.*dot_general|dot_general.*bhq"),
    ("dropout", r"u32\[|u16\[|threefry|Dropout"),
    ("LayerNorm", r"layer_norm"),
    ("slices and stacks of layers", r"slice|concatenate|wrapped_broadcast\S* f32\[12,"),
    ("embedding and its gradient", r"_take|scatter|embeddings"),
    ("GELU, softmax, biases, copies", r"XlmrModel"),
    ("once a step: AdamW, norm, masks, regularizer", r""),
)
THEIRS = (
    ("dense products", r"aten::(addmm|mm)$"),
    ("attention products", r"aten::(bmm|baddbmm)|scaled_dot"),
    ("dropout", r"bernoulli|dropout"),
    ("LayerNorm", r"layer_norm"),
    ("embedding and its gradient", r"embedding"),
    ("once a step: AdamW", r"aten::(sqrt|mul_|div|addcdiv_|addcmul_|lerp_)$|Optimizer"),
    ("GELU, softmax, biases, copies, the rest", r""),
)


def part(rules: tuple[tuple[str, str], ...], text: str) -> str:
    """The first part whose pattern is found in the text."""
    return next(name for name, pattern in rules if re.search(pattern, text))


class OursProfiled(Ours):
    """Our side, which can also say where a step's time goes."""

    def profile(self, dispatch: Dispatch, folder: str) -> Parts:
        """Milliseconds of the parts; XLA has dumped the program into the folder."""
        trace = Path(folder, "trace")
        with self.jax.profiler.trace(str(trace)):
            self.train(dispatch)
        program = next(Path(folder).glob("*jit_train*after_optimizations.txt")).read_text()
        file = max(trace.rglob("*.xplane.pb"))
        return shared(self.jax.profiler.ProfileData.from_file(str(file)), operations(program))


def operations(program: str) -> dict[str, str]:
    """Of an optimised program's operations by name: name, shape, and path in ours."""
    shape = r"\((?:[^()]|\([^()]*\))*\)|\S+"  # of a fusion with several results a tuple
    lines = re.findall(rf"^\s*(?:ROOT )?%?([\w.\-]+) = ({shape}) (.*)$", program, re.MULTILINE)
    names = {}
    for name, result, rest in reversed(lines):  # of one name the first is the outer one
        path = re.search(r'op_name="([^"]*)"', rest)
        names[name] = f"{name} {result} {path.group(1) if path else ''}"
    return names


def shared(profile: Any, names: dict[str, str]) -> Parts:
    """Wall time in milliseconds, every instant shared among the operations that run in it."""
    marks = []
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events if line.name.startswith("tf_XLAEigen") else ():
                name = dict(event.stats).get("hlo_op")
                if name and not name.startswith(("while", "call")):
                    end = event.start_ns + event.duration_ns
                    marks += [(event.start_ns, 1, name), (end, -1, name)]
    marks.sort(key=lambda mark: mark[:2])
    parts: Parts = collections.defaultdict(float)
    running: collections.Counter = collections.Counter()
    last = marks[0][0]
    for now, change, name in marks:
        for one in running:
            parts[part(OURS, names.get(one, one))] += (now - last) / len(running) / 1e6
        if not running:
            parts["untraced"] += (now - last) / 1e6
        last = now
        running[name] += change
        if not running[name]:
            del running[name]
    return dict(parts)


class TheirsProfiled(Theirs):
    """PyTorch's side, which can also say where a step's time goes."""

    def profile(self, dispatch: Dispatch) -> Parts:
        """Milliseconds of the parts."""
        with self.torch.profiler.profile() as found:
            self.train(dispatch)
        parts: Parts = collections.defaultdict(float)
        for event in found.key_averages():
            parts[part(THEIRS, event.key)] += event.self_cpu_time_total / 1e3
        return dict(parts)


class Timed:
    """A side with the system time and the fresh memory that a step takes."""

    def __init__(self, kind: type[Ours] | type[Theirs], job: Job):
        self.side = kind(job)

    def train(self, dispatch: Dispatch) -> tuple[float, ...]:
        """Of one step: seconds, seconds of both cores in the system, GiB of new pages."""
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        self.side.train(dispatch)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        pages = (after.ru_minflt - before.ru_minflt) * resource.getpagesize() / 2**30
        system = after.ru_stime - before.ru_stime
        return tuple(figure / len(dispatch.rows) for figure in (wall, system, pages))

    def profile(self, *arguments: Any) -> Parts:
        """The side's own."""
        return self.side.profile(*arguments)  # pyright: ignore[reportAttributeAccessIssue]


def table(title: str, parts: Parts) -> None:
    """Parts as a markdown table, the largest first."""
    whole = sum(parts.values())
    print(f"\n| {title} | ms | share |\n| --- | --- | --- |")
    for name, time_ in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"| {name} | {shown(time_)} | {time_ / whole:.1%} |")
    print(f"| all | {shown(whole)} | |", flush=True)


def shown(time_: float) -> str:
    """As the table has it."""
    return f"{time_:.0f}" if time_ >= 100 else f"{time_:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3, help="in the longer dispatch (default 3)")
    parser.add_argument("--repeats", type=int, default=5, help="the median of so many (default 5)")
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    options = parser.parse_args()
    config = BASE
    if options.small:
        config = replace(config, vocab_size=1000, hidden_size=96, intermediate_size=192)
    job = random_job(config, np.full(options.batch * 4, options.length))
    job = replace(job, batch=options.batch)
    batch = np.arange(options.batch, dtype=np.int32)
    dispatches = [
        Dispatch(options.length, np.stack([batch] * steps)) for steps in (1, options.steps)
    ]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder} --xla_dump_hlo_as_text "
            "--xla_dump_hlo_module_re=jit_train"
        )
        sides = {"ours": Worker(Timed, OursProfiled, job)}
        sides["PyTorch"] = Worker(Timed, TheirsProfiled, job)
        for worker in sides.values():
            worker("train", dispatches[0])  # compiles
        print(f"{options.batch} x {options.length}, load {os.getloadavg()[0]:.1f}\n")
        print("| side, steps in a dispatch | s a step | system s, both cores | GiB of pages |")
        print("| --- | --- | --- | --- |")
        for dispatch in dispatches:
            found: dict[str, list[tuple[float, ...]]] = {side: [] for side in sides}
            for _ in range(options.repeats):
                for side, worker in sides.items():
                    found[side].append(worker("train", dispatch)[1])
            for side, times in found.items():
                cells = (f"{statistics.median(each):.2f}" for each in zip(*times, strict=True))
                print(f"| {side}, {len(dispatch.rows)} | " + " | ".join(cells) + " |", flush=True)
        table("ours, one step", sides["ours"]("profile", dispatches[0], folder)[1])
        table("PyTorch, one step", sides["PyTorch"]("profile", dispatches[0])[1])
        for worker in sides.values():
            worker.close()


if __name__ == "__main__":
    main()
