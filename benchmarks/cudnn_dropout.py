"""Does cuDNN's attention drop anew in every step, and does its backward pass know what it dropped?

    python benchmarks/cudnn_dropout.py        # one NVIDIA GPU, a minute

JAX hands cuDNN a seed that is fixed when a program is compiled; XLA may move an offset at every
execution. What was dropped can be read off: with queries of 0 all weights are equal, and with unit
vectors as values the context is the weights; with unit vectors as its gradient, that of the values
is the weights that the backward pass uses. Twelve equal layers stand in one program, one after the
other and in a loop; the program runs twice here and once in a second process, which tells whether a
run that starts again would drop the same.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

ROWS, HEADS, LENGTH, LAYERS = 2, 2, 64, 12
RATE = 0.1
Heads = Float[Array, "rows length heads size"]
Attend = Callable[[Heads, Heads, Heads], Heads]
Program = Callable[[Array, Array], tuple[Array, Array]]


class Kept(NamedTuple):
    """Which weights of every layer an execution kept, in either pass."""

    forward: Bool[np.ndarray, "layers rows heads query key"]
    backward: Bool[np.ndarray, "layers rows heads query key"]


def cudnn(query: Heads, key: Heads, value: Heads) -> Heads:
    """Attention with dropout as jax calls it."""
    from jax._src.cudnn.fused_attention_stablehlo import dot_product_attention

    return dot_product_attention(query, key, value, dropout_rate=RATE)


def program(attend: Attend, loop: bool) -> Program:
    """Contexts and gradients of the values of all layers, compiled."""

    def layer(value: Heads, pull: Heads) -> tuple[Heads, Heads]:
        zero = jnp.zeros_like(value)
        context, back = jax.vjp(lambda value: attend(zero, zero, value), value)
        return context, back(pull)[0]

    def layers(values: Array, pulls: Array) -> tuple[Array, Array]:
        if loop:
            return jax.lax.scan(lambda carry, of: (carry, layer(*of)), None, (values, pulls))[1]
        found = [layer(*of) for of in zip(values, pulls, strict=True)]
        contexts, gradients = zip(*found, strict=True)
        return jnp.stack(contexts), jnp.stack(gradients)

    return jax.jit(layers)


def execute(run: Program) -> Kept:
    """Run a program once and read off what it kept."""
    units = np.eye(LENGTH)[None, :, None].repeat(ROWS, 0).repeat(HEADS, 2)
    # Each layer has values of its own, or XLA would compute equal layers once
    scaled = jnp.asarray(np.stack([units * (1 + n) for n in range(LAYERS)]), jnp.bfloat16)
    contexts, gradients = run(scaled, scaled)
    forward = np.einsum("lqahk->lahqk", np.asarray(contexts, np.float32).swapaxes(1, 2))
    backward = np.einsum("lkahq->lahqk", np.asarray(gradients, np.float32).swapaxes(1, 2))
    return Kept(forward > 0, backward > 0)


def answers(first: Kept, second: Kept) -> list[str]:
    """What two executions of one program say."""
    forward = first.forward

    def alike(parts: Bool[np.ndarray, "part *rest"]) -> str:
        same = sum((parts[0] == part).all() for part in parts[1:])
        return f"{same} of {len(parts) - 1} are those of the first"

    return [
        f"dropped: {1 - forward.mean():.4f} of the weights (asked: {RATE})",
        f"backward pass drops what the forward pass did: {_yes(first.backward, forward)}",
        f"a second execution drops the same: {_yes(second.forward, forward)}",
        f"layers: {alike(forward)}",
        f"rows of a batch: {alike(forward.swapaxes(0, 1))}",
        f"heads: {alike(np.moveaxis(forward, 2, 0))}",
    ]


def _yes(found: np.ndarray, expected: np.ndarray) -> str:
    share = float((found == expected).mean())
    return "yes" if share == 1 else f"no, {share:.1%} of the weights alike"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digest", action="store_true", help="only what the first execution kept")
    options = parser.parse_args()
    if jax.default_backend() != "gpu":
        sys.exit(f"needs an NVIDIA GPU, and this is {jax.devices()[0].device_kind}")
    for loop in (False, True):
        run = program(cudnn, loop)
        first = execute(run)
        digest = np.packbits(first.forward).tobytes().hex()
        if options.digest:
            print(digest)
            continue
        print(f"{LAYERS} layers {'in a loop' if loop else 'one after the other'}:")
        print(*(f"  {line}" for line in answers(first, execute(run))), sep="\n")
        command = [sys.executable, __file__, "--digest"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        print(f"  a second process drops the same: {'yes' if said[loop] == digest else 'no'}")


if __name__ == "__main__":
    main()
