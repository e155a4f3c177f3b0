"""Whole heads and feed-forward units, cut step by step or served at every size.

    python -m alignreg_jax.sweep --config configs/structured_demo.py
    python -m alignreg_jax.sweep --config configs/structured_demo.py:slots
    python -m alignreg_jax.sweep --config configs/structured_demo.py:layers
    python -m alignreg_jax.sweep --config configs/structured_demo.py:tries
    python -m alignreg_jax.sweep --config configs/structured_demo.py:depth

Read at 75, 50, 35 and 25 % of the encoder's weights, beside magnitude pruning of single weights at
the same counts. `structured-taylor` keeps all layers alike, `structured-fisher` orders over layers;
both have 80 steps after each of four cuts, 320 in all. `elastic` serves all sizes from one
training: with 80 steps, a quarter of that, and with 320. Its control is the plain form that gives
every step one size. Rows with text have the dense model speak about sentences without labels in
thirty other languages (configs/distillation_demo.py), in as many steps.

`:slots` is tags of words, read at 50 and 25 %. `:layers` leaves out whole layers alone, 9 and 6 of
12 from one training. `:tries` is what might make `elastic` with text better: every layer alike, the
distance to the dense model's hidden states (their weight as DynaBERT's, 0.1), four times the steps.
`:depth` is a quarter of the weights as half of the layers and half of their units, which is faster
to serve than a quarter of the units of all layers.

A schedule that two CPU cores can bear: 1280 training rows, 160 dense steps, 200 test rows of each
of ten languages. Bundled encoder and data.

Computes in bfloat16, which is faster on a CPU that has instructions for it (avx512_bf16 in
/proc/cpuinfo; docs/performance.md); on another one --config.base.model.dtype=float32 is.

Hardware: 2 CPU cores; 55 runs of 3 minutes on one of them. docs/results/structured_demo has five
seeds of seven rows on intents and of `:layers`, three of `:tries` and `:depth`, two of six rows of
`:slots`.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.starts import default_config, demo_config

SIZES = (0.75, 0.5, 0.35, 0.25)
CUT = ("l2-mbp", "structured-taylor", "structured-fisher")
ARGUMENTS = ("slots", "layers", "tries", "depth")
LONG, STEP = "@pruning.epochs_per_step={epochs}", "@pruning.sizes_of=step"
TEXT = "@distill.text=data"
EVEN = "@pruning.scope=units-even@pruning.criterion=taylor-units"
TRIES = ("", EVEN, "@distill.hidden=0.1")
LAYERS = "elastic@pruning.scope=layers@pruning.sizes=(1,0.75,0.5)"


# An epoch with text is twice as long, so it has half the epochs
CUT_ROWS = tuple(row + text for row in CUT for text in ("", TEXT + LONG.format(epochs=1)))
ELASTIC = tuple(
    f"elastic{form}{text}{LONG.format(epochs=epochs)}"
    for form, text, epochs in (
        ("", "", 2), ("", "", 8), (STEP, "", 8), ("", TEXT, 1), ("", TEXT, 4)
    )
)  # fmt: skip


def get_config(arg: str = ""):
    if arg not in ("", *ARGUMENTS):
        listed = ", ".join(f":{name}" for name in ARGUMENTS)
        raise UserError(f"--config: unknown argument :{arg}; there are {listed}")
    left = SIZES[:2] if arg == "layers" else SIZES
    config = default_config(
        demo_config(train_examples=1280, first_epochs=4, epochs_per_step=2, left=left)
    )
    config.base.model.dtype = "bfloat16"
    config.base.eval.examples = 200
    config.methods = (*CUT_ROWS, *ELASTIC)
    if arg == "layers":
        config.methods = (CUT[0], *(LAYERS + row.removeprefix("elastic") for row in ELASTIC[1::3]))
    if arg == "tries":
        tries = [f"elastic{each}{TEXT}{LONG.format(epochs=4)}" for each in TRIES]
        config.methods = (*tries, f"elastic{TEXT}{LONG.format(epochs=16)}")
        config.baseline = tries[0]
    if arg == "depth":
        both = "@pruning.depth=True@pruning.sizes=(1,0.75,0.5)"
        config.methods = tuple(
            f"elastic{EVEN}{each}{TEXT}{LONG.format(epochs=4)}" for each in ("", both)
        )
        config.baseline = config.methods[0]
    config.tasks = ("slots",) if arg == "slots" else ("intents",)
    config.seeds = (0, 1, 2, 3, 4)
    config.remaining = {"slots": SIZES[1::2], "depth": SIZES[-1:]}.get(arg, left)
    return config
