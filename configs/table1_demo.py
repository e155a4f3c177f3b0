"""Table 1 on the bundled data and encoder: the same rows, three seeds, read at 31 % and 10 %.

    python -m alignreg_jax.sweep --config configs/table1_demo.py
    python -m alignreg_jax.sweep --config configs/table1_demo.py --list

23 intents of voice commands, English labels, nine other languages. Four cuts, each of 44 % of the
survivors. Nothing is tuned for one method more than for another: rates, epochs and cuts are those
of all rows, weights of penalties their defaults.

A schedule that fits on a CPU: 1280 of the training rows, three dense epochs, one after each cut,
and 200 of the test rows of each language. --config.base.task.train_examples=0 trains on all
2843, --config.base.eval.examples=0 tests on all, --config.base.eval.languages="" in all thirty-one
languages.

Hardware: 2 CPU cores, an hour and a half in two shards (--shard 1/2, --shard 2/2) that are held to
one core each (taskset). docs/results/table1_demo has what it found, made when `train_examples` and
`eval.examples` still took the first rows of a file; now they draw rows at random.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.pruning.presets import TABLE_1
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config


def get_config(arg: str = ""):
    if arg:
        raise UserError(f"--config: unknown argument :{arg}; there is none")
    config = default_config(demo_config(train_examples=1280, first_epochs=3, epochs_per_step=1))
    config.base.eval.examples = 200
    # Table 1's rows, learned masks, then controls; whole units have tables of their own
    config.methods = TABLE_1
    config.tasks = ("intents",)
    config.remaining = (DEMO_LEFT[1], DEMO_LEFT[3])
    return config
