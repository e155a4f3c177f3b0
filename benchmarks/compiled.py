"""A training step compiled for a GPU or TPU that is not here: its memory, kernels and bytes.

    pip install "jax[cuda13]"; JAX_PLATFORMS=cpu python benchmarks/compiled.py --card h200
    pip install "jax[tpu]"; JAX_PLATFORMS=cpu python benchmarks/compiled.py --card v5e --devices 4
    python benchmarks/compiled.py --card v5e --devices 4 --layout fsdp --rows "large 32 128"
    python benchmarks/compiled.py --card v5e --devices 4 --layout fsdp --methods   # do all compile?
    python benchmarks/compiled.py --card h200 --rows "base 32 128" "large 32 128 remat" --active 0

Nothing is executed and nothing is timed. Memory is what the compiler has laid out on each device:
what stays (weights, two moments, reference, masks) and what a step needs beside it. Of a GPU's
program the kernels are counted, with what they have to read and write (kernels.py); "at least" is
the sum over kernels of the longer of two times, that of its bytes at the card's bandwidth and that
of its matrix products at the rate that large products reach there. What a step really takes is
more: kernels do not reach those rates, and XLA has not tried which of its kernels are the fastest,
as it does where there is a card.

XLM-R, bfloat16 compute, Frobenius penalty, all trained, of the word embedding the rows in use
(40,000; --active 0: all 250,002). A row is: size, rows of a batch over all devices, pieces, and
"remat" for model.remat. One takes one to four minutes on two cores.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import lowered
from jax.experimental import topologies
from jax.stages import Compiled
from jobs import BASE, LARGE
from kernels import Kernel, Program

from alignreg_jax.models import xlmr
from alignreg_jax.pruning import methods
from alignreg_jax.training import sharding

SMALL = xlmr.XlmrConfig(4096, 256, 2, 4, 512, 130)
ROWS = ("base 32 32", "base 32 128", "base 256 128", "base 256 128 remat", "large 32 128",
        "large 32 128 remat")  # fmt: skip
HOPPER = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: %(bandwidth)d
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: %(memory)d
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 12 minor: 9 }
device_description_str: "%(name)s"
"""


@dataclass(frozen=True)
class Card:
    """What is compiled for.

    Attributes:
        platform: "cuda" or "tpu".
        name: the compiler's: of a TPU its topology.
        memory: bytes.
        bandwidth: bytes a second that its memory gives.
        peak: operations a second of large bfloat16 products.
    """

    platform: str
    name: str
    memory: float
    bandwidth: float = 0.0
    peak: float = 0.0

    def devices(self, count: int) -> list[Any]:
        """Of its topology, which need not be attached."""
        if self.platform == "tpu":
            found = topologies.get_topology_desc(platform="tpu", topology_name=self.name)
        else:
            told = {"bandwidth": self.bandwidth, "memory": self.memory, "name": self.name}
            topology = f"1x1x{count}"
            found = topologies.get_topology_desc(
                topology, platform="cuda", target_config=HOPPER % told, topology=topology
            )
        return list(found.devices)[:count]


# Both rates of the H200 are what docs/performance.md measured
CARDS = {
    "h200": Card("cuda", "NVIDIA H200", 141e9, 4.1e12, 747e12),
    "v5e": Card("tpu", "v5e:2x2", 16e9),
    "v6e": Card("tpu", "v6e:2x2", 32e9),
}


def compiled(
    devices: list[Any], platform: str, layout: str, row: str, active: int, **model: str
) -> Compiled:
    """The program of one row."""
    size, batch, length, *remat = row.split()
    config = {"base": BASE, "large": LARGE}[size]
    return lowered.step(
        config,
        lowered.mesh(devices, layout),
        int(batch),
        int(length),
        active=active,
        **model,
        remat=bool(remat),
        unroll=xlmr.unrolled("gpu" if platform == "cuda" else platform, config.num_layers),
    ).compile()


def every_method(devices: list[Any], layout: str) -> Iterator[str]:
    """A line for every method: whether its step and its cut compile, for a small encoder."""
    mesh = lowered.mesh(devices, layout)
    for name, row in methods.PRESETS.items():
        scope, freeze = str(row["pruning.scope"]), row.get("pruning.freeze", ())
        method = methods.build(
            criterion=str(row["pruning.criterion"]),
            scope=scope,
            regularizer=str(row["regularizer.name"]),
            mask_every=8,
            heads=SMALL.num_heads,
            any_size="rows" if "pruning.sizes" in row else None,
        )
        found = lowered.Lowering(SMALL, mesh, method, freeze=freeze)
        found.step(16, 64, scope).compile()
        cut = found.cut(scope)
        if cut is not None:
            cut.compile()
        yield f"{name}: step{'' if cut is None else ' and cut'}"


def seconds(card: Card, kernels: list[Kernel]) -> float:
    """The least that they take: of each the longer of reading and writing, and of multiplying."""
    return sum(max(each.bytes / card.bandwidth, each.flops / card.peak) for each in kernels)


def measured(card: Card, program: Compiled) -> list[str]:
    """The cells of a program."""
    memory = program.memory_analysis()
    stays, beside = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    cells = [f"{stays / 1e9:.2f}", f"{beside / 1e9:.2f}", f"{(stays + beside) / card.memory:.0%}"]
    if card.platform != "cuda":
        return cells
    found = Program(program.as_text()).kernels
    products = [kernel for kernel in found if kernel.flops]
    return [
        *cells,
        f"{len(found)} ({len(products)})",
        f"{sum(each.bytes for each in found) / 1e9:.1f}",
        f"{sum(each.flops for each in found) / 1e12:.2f}",
        f"{1000 * seconds(card, found):.1f}",
        f"{1000 * seconds(card, products):.1f}",
    ]


def by_part(card: Card, program: Compiled) -> list[str]:
    """Kernels without products, by the part of the model that they came from; the longest first."""
    parts: dict[str, list[Kernel]] = {}
    for kernel in Program(program.as_text()).kernels:
        if not kernel.flops:
            parts.setdefault("/".join(kernel.origin.split("/")[-3:-1]), []).append(kernel)
    found = sorted(parts.items(), key=lambda part: -seconds(card, part[1]))
    return [
        f"| {name} | {len(of_it)} | {sum(each.bytes for each in of_it) / 1e9:.1f} "
        f"| {1000 * seconds(card, of_it):.2f} |"
        for name, of_it in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--card", choices=CARDS, required=True)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--layout", choices=sharding.AXES, default="data", help="of the devices")
    parser.add_argument("--rows", nargs="+", default=ROWS)
    parser.add_argument("--active", type=int, default=40_000)
    parser.add_argument("--methods", action="store_true", help="compile those of every method")
    parser.add_argument("--attention", choices=("einsum", "fused"), default="einsum")
    parser.add_argument("--norm", choices=("plain", "fused"), default="plain")
    parser.add_argument("--parts", action="store_true", help="of a GPU's program: where it goes")
    options = parser.parse_args()
    card = CARDS[options.card]
    try:
        devices = card.devices(options.devices)
    except (RuntimeError, ValueError) as error:
        extra = "jax[tpu]" if card.platform == "tpu" else "jax[cuda13]"
        sys.exit(f"{options.card}: {str(error).splitlines()[0]}; is {extra} installed?")
    print(f"jax {jax.__version__}, {devices[0].device_kind}, {options.layout}={len(devices)}\n")
    if options.methods:
        for line in every_method(devices, options.layout):
            print(line, flush=True)
        return
    heads = ["size, batch, pieces", "stays, GB", "a step needs beside it", "of the memory"]
    if card.platform == "cuda":
        heads += ["kernels (with products)", "GB moved", "TFLOP", "ms at least", "with products"]
    print("| " + " | ".join([*heads, "compiled in, s"]) + " |\n" + "|---" * (len(heads) + 1) + "|")
    for row in options.rows:
        start = time.monotonic()
        program = compiled(
            *(devices, card.platform, options.layout, row, options.active),
            attention=options.attention,
            norm=options.norm,
        )
        cells = [*measured(card, program), f"{time.monotonic() - start:.0f}"]
        print(f"| {row} | " + " | ".join(cells) + " |", flush=True)
        if options.parts:
            heads = "\n| without products: part | kernels | GB | ms at least |\n|---|---|---|---|"
            print(heads, *by_part(card, program), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
