"""What a float32 residual stream costs beside a bfloat16 one on a GPU: arithmetic, no measurement.

    python benchmarks/residual.py                   # XLM-R base and large at the shapes of an H200
    python benchmarks/residual.py --bandwidth 2.6e12

Between two matrix products stand: residual sum, LayerNorm, and their backward passes. Counted is
how often they read or write an array of the stream's size if each kernel touches its arrays once:

    forward   4   the stream read, the sum written (and kept for the backward pass) and read, the
                  result written
    backward  8   the pull of the result written, read for the bias and for the input; the sum read
                  for both; the pull of the sum written, read by the product and by the stream

With a float32 stream each of these is 2 bytes more for an element, and the matrix products' inputs
are written in bfloat16 beside it. XLA may fuse more or less than that.
"""

import argparse

from jobs import BASE, LARGE

PASSES, COPY = 12, 2  # per LayerNorm; bytes of the copy for the products
# Milliseconds of a step on an H200 with a bfloat16 stream (docs/performance.md, commit 6e130a0)
MEASURED = {("base", 32, 128): 11.9, ("base", 256, 128): 52.7}
SHAPES = [("base", 32, 32), *MEASURED, ("large", 32, 128), ("large", 256, 256)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bandwidth", type=float, default=4.1e12, help="bytes/s (default 4.1e12)")
    options = parser.parse_args()
    print("| shape | bfloat16, GB a step | float32 | more, ms | of the step | kept more, MiB: "
          "unrolled | in a loop, or remat |\n" + "| --- " * 7 + "|")  # fmt: skip
    for size, batch, length in SHAPES:
        config = {"base": BASE, "large": LARGE}[size]
        elements = batch * length * config.hidden_size
        norms = 2 * config.num_layers
        narrow = norms * elements * PASSES * 2
        wide = norms * elements * (PASSES * 4 + COPY)
        more = 1000 * (wide - narrow) / options.bandwidth
        step = MEASURED.get((size, batch, length))
        share = "–" if step is None else f"{more / step:.1%}"
        # Kept: every LayerNorm's input; in a loop, or with remat, what goes from layer to layer
        kept = (2 * elements * count / 2**20 for count in (norms, config.num_layers))
        cells = f"{narrow / 1e9:.2f}", f"{wide / 1e9:.2f}", f"{more:.2f}", share
        print(f"| {size}, {batch} x {length} | " + " | ".join((*cells, *(f"{k:.0f}" for k in kept)))
              + " |")  # fmt: skip


if __name__ == "__main__":
    main()
