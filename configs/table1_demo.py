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

`:claims` asks what sections 3.1 and 4 say in passing: cuts by a cubic or a linear schedule, and the
cosine of whole matrices instead of units, at its default weight and at ten times that, where it
acts (configs/lambda_demo.py). Five seeds, read at 31 %, in bfloat16, forty minutes.

Hardware: 2 CPU cores, two hours in two shards (--shard 1/2, --shard 2/2) that are held to
one core each (taskset). docs/results/table1_demo has what it found, made when `train_examples` and
`eval.examples` still took the first rows of a file; now they draw rows at random.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.pruning.presets import TABLE_1
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config

CLAIMS = (
    *("l2-mbp", "l2-mbp@pruning.schedule=linear", "l2-mbp@pruning.schedule=cubic"),
    *(
        f"cosine-mbp{layer}{weight}"
        for weight in ("", "@regularizer.weight=1000")
        for layer in ("", "@regularizer.name=cosine-layer")
    ),
)


def get_config(arg: str = ""):
    if arg not in ("", "claims"):
        raise UserError(f"--config: unknown argument :{arg}; there is only :claims")
    config = default_config(demo_config(train_examples=1280, first_epochs=3, epochs_per_step=1))
    config.base.eval.examples = 200
    # Table 1's rows, learned masks, then controls; whole units have tables of their own
    config.methods = TABLE_1
    config.tasks = ("intents",)
    config.remaining = (DEMO_LEFT[1], DEMO_LEFT[3])
    if arg:
        config.methods, config.seeds, config.remaining = CLAIMS, (0, 1, 2, 3, 4), DEMO_LEFT[1:2]
        config.base.model.dtype = "bfloat16"
        pruning = config.base.pruning
        pruning.schedule, pruning.final, pruning.steps = "geometric", DEMO_LEFT[1], 4
    return config
