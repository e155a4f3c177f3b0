"""Break a training step of XLM-R base on a GPU into parts.

    python benchmarks/profile_gpu.py                 # 32 x 128 and 256 x 128
    python benchmarks/profile_gpu.py --shapes 32x32  # others

The time is that of the kernels, from XLA's profiler over two steps; a step's own time, measured
without it, is printed beside it. bfloat16, everything trained, all layers out of the loop.
"""

import argparse
import collections
import os
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jobs import BASE, STEPS, random_job
from profile_base import Parts, operations, part, table

from alignreg_jax.data.batching import Dispatch

TRACED = 2  # steps
# First match wins; of cuBLAS's kernels only their own name is known, attention's among them
PARTS = (
    ("matrix products", r"^(nvjet|gemm_fusion|sm\d+_|void cub|cutlass|cublas|splitK)"),
    ("copies and fills", r"^(memcpy|memset|Memcpy|Memset)|wrapped_(copy|slice|concatenate)"),
    ("random bits", r"u32\[|threefry"),
    ("once a step: AdamW, gradient norm, fills", r"f32\[250002|^(?!.*XlmrModel)"),
    ("LayerNorm", r"layer_norm"),
    ("transposes for attention", r"transpose_fusion"),
    ("softmax and dropout of weights", r"\[\d+,\d+,(\d+),\1\]|/attention/.*reduce"),
    ("GELU", r"intermediate"),
    ("embedding", r"_take|scatter|embeddings"),
    ("dropout, residuals, biases, the rest", r""),
)


def kernels(profile: Any, names: dict[str, str]) -> Parts:
    """Milliseconds a step of each part.

    Args:
        profile: a jax.profiler.ProfileData of TRACED steps.
        names: of `operations`; a kernel is called as its operation, with _ for . and -.
    """
    known = {re.sub(r"[.\-]", "_", name): text for name, text in names.items()}
    parts: Parts = collections.defaultdict(float)
    for plane in profile.planes:
        for line in plane.lines if plane.name.startswith("/device:GPU") else ():
            for event in line.events if line.name.startswith("Stream") else ():
                text = known.get(event.name, event.name)
                parts[part(PARTS, text)] += event.duration_ns / 1e6 / TRACED
    return dict(parts)


def measure(shape: str, folder: Path) -> None:
    """One shape: seconds of a step, and its parts."""
    import jax
    from sides import Ours

    batch, length = map(int, shape.split("x"))
    job = replace(random_job(BASE, np.full(batch * 4, length)), batch=batch, dtype="bfloat16")
    rows = (np.arange(batch * STEPS, dtype=np.int32) % job.rows.rows).reshape(STEPS, batch)
    side, before = Ours(job), set(folder.glob("*"))
    side.train(Dispatch(length, rows))  # compiles
    times = []
    for _ in range(3):
        start = time.perf_counter()
        side.train(Dispatch(length, rows))
        times.append((time.perf_counter() - start) / STEPS)
    trace = folder / f"trace_{shape}"
    with jax.profiler.trace(str(trace)):
        side.train(Dispatch(length, rows[:TRACED]))
    (program,) = (file for file in set(folder.glob("*jit_train*after_optimizations.txt")) - before)
    profile = jax.profiler.ProfileData.from_file(str(max(trace.rglob("*.xplane.pb"))))
    title = f"{shape}, {1000 * min(times):.1f} ms a step"
    table(title, kernels(profile, operations(program.read_text())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shapes", nargs="+", default=["32x128", "256x128"], metavar="BATCHxLENGTH"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder} --xla_dump_hlo_as_text "
            "--xla_dump_hlo_module_re=jit_train"
        )
        import jax

        device = jax.devices()[0]
        if device.platform != "gpu":
            sys.exit(f"{device.device_kind} is no GPU; benchmarks/profile_base.py is for CPUs")
        print(f"jax {jax.__version__} on {device.device_kind}", flush=True)
        for shape in options.shapes:
            measure(shape, Path(folder))


if __name__ == "__main__":
    main()
