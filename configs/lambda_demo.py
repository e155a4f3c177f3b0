"""How much the weight of a penalty matters: both regularizers, six decades, the bundled data.

    python -m alignreg_jax.sweep --config configs/lambda_demo.py

Each is given the same multiples of its default weight, which are of one gradient scale
(docs/errata.md): one is searched as much as the other. `l2-mbp`, without a penalty, is the row they
are compared with. Everything else as in configs/table1_demo.py.

Hardware: a GPU, or 2 CPU cores for an hour per seed. docs/results/lambda_demo has what one seed
showed when `eval.examples` still took the first rows of a file; now it draws rows at random.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.pruning.methods import REGULARIZERS
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config

MULTIPLES = (1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3)


def get_config(arg: str = ""):
    if arg:
        raise UserError(f"--config: unknown argument :{arg}; there is none")
    config = default_config(demo_config(train_examples=1280, first_epochs=3, epochs_per_step=1))
    config.base.eval.examples = 200
    config.methods = (
        "l2-mbp",
        *(
            f"{name}-mbp@regularizer.weight={multiple * REGULARIZERS[name]:g}"
            for name in ("cosine", "frobenius")
            for multiple in MULTIPLES
        ),
    )
    config.tasks = ("intents",)
    config.remaining = (DEMO_LEFT[1], DEMO_LEFT[3])
    return config
