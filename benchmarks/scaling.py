"""Bytes that a training step sends between devices, read off the compiled program.

    python benchmarks/scaling.py                    # XLM-R base, batch 32 x 128, 1 to 8 devices
    python benchmarks/scaling.py --small            # two thin layers: does the script work?
    python benchmarks/scaling.py --batch 256 --layouts data fsdp

The devices are fakes that share this machine's cores, so that their time says nothing; what a step
has to move does not depend on where it is compiled. Nothing is executed. A collective counts as a
ring sends it: of n devices each sends 2 (n-1)/n of an array to sum it everywhere, (n-1)/n to
gather, scatter or exchange it; inside a loop as often as the loop goes round.
"""

import argparse
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

DEVICES = 8
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import lowered  # noqa: E402
from jobs import BASE  # noqa: E402
from kernels import size  # noqa: E402

from alignreg_jax.models import xlmr  # noqa: E402
from alignreg_jax.training import sharding  # noqa: E402

SHARES = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: n - 1,  # its result is an n-th of what is summed
    "collective-permute": lambda n: 1,
}


def program(config: xlmr.XlmrConfig, layout: str, devices: int, batch: int, length: int) -> str:
    """The optimised program of one step with the Frobenius penalty, as text."""
    mesh = lowered.mesh(jax.devices()[:devices], layout)
    return lowered.step(config, mesh, batch, length).compile().as_text()


def sent(text: str) -> Counter[str]:
    """Bytes that each device sends in a step, by the kind of collective."""
    bodies: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        if start := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            name = start[2]
            bodies[name] = []
            entry = name if start[1] else entry
        elif name:
            bodies[name].append(line)

    def walk(name: str, times: int) -> Iterator[tuple[str, float]]:
        for line in bodies[name]:
            if found := re.search(rf"= (.*?) ({'|'.join(SHARES)})(-start)?\(", line):
                yield found[2], times * size(found[1]) * SHARES[found[2]](group(line))
            # The loop over a dispatch's steps goes round as often as it is told: here, once
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            for inner in re.findall(r"(?:body|calls|to_apply)=%?([\w.-]+)", line):
                yield from walk(inner, times * (int(trips[1]) if trips else 1))

    total: Counter[str] = Counter()
    for kind, count in walk(entry, 1):
        total[kind] += round(count)
    return total


def group(line: str) -> int:
    """Devices that take part in a collective together."""
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(tiled[1])
    if named := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
        sizes = dict(re.findall(r"('\w+')=(\d+)", named[1]))
        # An axis, or a part of one: 'axis_0':(2)4 is 4 of its devices
        return math.prod(
            int(part or sizes[axis])
            for axis, part in re.findall(r"('\w+')(?::\(\d+\)(\d+))?", named[2])
        )
    if "collective-permute" in line:
        return 2
    raise ValueError(f"groups in a form that is not known: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="check the script")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--layouts", nargs="+", choices=sharding.AXES, default=sharding.AXES)
    options = parser.parse_args()
    config = BASE
    if options.small:
        config = replace(BASE, vocab_size=1000, hidden_size=96, intermediate_size=192, num_layers=2)
    print(f"XLM-R base{' (small)' if options.small else ''}, batch {options.batch} x ", end="")
    print(f"{options.length}, bfloat16 compute, Frobenius penalty; MB a device sends in a step\n")
    kinds = [*SHARES]
    print("| layout | devices |", " | ".join(kinds), "| all |")
    print("| --- " * (3 + len(kinds)) + "|")
    for layout in options.layouts:
        for devices in (1, 2, 4, 8):
            if layout == "tensor" and config.num_heads % devices:
                continue
            found = sent(program(config, layout, devices, options.batch, options.length))
            cells = [f"{found[kind] / 1e6:.1f}" for kind in kinds]
            total = f"{found.total() / 1e6:.1f}"
            print(f"| {layout} | {devices} |", " | ".join(cells), f"| {total} |", flush=True)


if __name__ == "__main__":
    main()
