"""Whole heads and feed-forward units, cut step by step or served at every size.

    python -m alignreg_jax.sweep --config configs/structured_demo.py
    python -m alignreg_jax.sweep --config configs/structured_demo.py:slots

Read at 75, 50, 35 and 25 % of the encoder's weights, beside magnitude pruning of single weights at
the same counts. `structured-taylor` keeps all layers alike, `structured-fisher` orders over layers;
both have 80 steps after each of four cuts, 320 in all. `elastic` serves all sizes from one
training: with 80 steps, a quarter of that, and with 320. Its control is the plain form that gives
every step one size. Rows with text have the dense model speak about sentences without labels in
thirty other languages (configs/distillation_demo.py), in as many steps.

`:slots` is tags of words, read at 50 and 25 %.

A schedule that two CPU cores can bear: 1280 training rows, 160 dense steps, 200 test rows of each
of ten languages. Bundled encoder and data.

Matrix products in bfloat16, twice as fast on a CPU that has instructions for it (avx512_bf16 or
amx_bf16 in /proc/cpuinfo); on another one --config.base.model.dtype=float32 is faster.

Hardware: 2 CPU cores. Not run to the end yet.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.config import default_config, demo_config

SIZES = (0.75, 0.5, 0.35, 0.25)
CUT = ("l2-mbp", "structured-taylor", "structured-fisher")
LONG, STEP = "@pruning.epochs_per_step={epochs}", "@pruning.sizes_of=step"
TEXT = "@distill.text=data"


def rows() -> tuple[str, ...]:
    """An epoch with text is twice as long, so it has half the epochs."""
    cut = [row + text for row in CUT for text in ("", TEXT + LONG.format(epochs=1))]
    elastic = [
        f"elastic{form}{text}{LONG.format(epochs=epochs)}"
        for form, text, epochs in (
            ("", "", 2), ("", "", 8), (STEP, "", 8), ("", TEXT, 1), ("", TEXT, 4)
        )
    ]  # fmt: skip
    return (*cut, *elastic)


def get_config(arg: str = ""):
    if arg not in ("", "slots"):
        raise UserError(f"--config: unknown argument :{arg}; there is :slots")
    config = default_config(demo_config(train_examples=1280, first_epochs=4, epochs_per_step=2))
    config.base.pruning.steps = len(SIZES)
    config.base.pruning.explicit = SIZES
    config.base.model.dtype = "bfloat16"
    config.base.eval.examples = 200
    config.methods = rows()
    config.tasks = ("slots",) if arg else ("intents",)
    config.seeds = (0, 1, 2, 3, 4)
    config.remaining = (0.5, 0.25) if arg else SIZES
    return config
