"""From no penalty to weights that never move: how far an encoder should be held to where it was.

    python -m alignreg_jax.sweep --config configs/continuum_demo.py

The paper's regularizers pull weights towards the pretrained ones. At a weight of 0 that is
magnitude pruning; without bound, weights that stay and are only left out, where Static Model
Pruning is, with a learned score for the magnitude. Rows: six weights of the Frobenius penalty,
frozen weights with magnitude masks, frozen weights with learned masks. Everything else as in
configs/distillation_demo.py, without a teacher.

Computes in bfloat16, which is faster on a CPU that has instructions for it (avx512_bf16 in
/proc/cpuinfo; docs/performance.md); on another one --config.base.model.dtype=float32 is.

Hardware: 2 CPU cores; 10 runs a seed, an hour on one of them. docs/results/continuum_demo has one
seed of seven rows.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config

WEIGHTS = ("5e-6", "5e-5", "5e-4", "5e-3", "5e-2", "5e-1")
LEFT = (DEMO_LEFT[0], DEMO_LEFT[1], DEMO_LEFT[3])
FROZEN = "@pruning.start=pretrained@pruning.freeze=embeddings,encoder"


def get_config(arg: str = ""):
    if arg:
        raise UserError(f"--config: unknown argument :{arg}; there is none")
    config = default_config(
        demo_config(train_examples=1280, first_epochs=4, epochs_per_step=4, left=LEFT)
    )
    config.base.model.dtype = "bfloat16"
    config.base.eval.examples = 200
    config.methods = (
        "l2-mbp",
        *(f"frobenius-mbp@regularizer.weight={weight}" for weight in WEIGHTS),
        "l2-mbp" + FROZEN.replace("=embeddings,encoder", "=(embeddings,encoder)"),
        "smp-l",
        "smp-s",
    )
    config.tasks = ("intents",)
    config.remaining = LEFT[1:]
    return config
