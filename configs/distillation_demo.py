"""What keeps the languages: five methods without a teacher, with one on English, and on all text.

    python -m alignreg_jax.sweep --config configs/distillation_demo.py
    python -m alignreg_jax.sweep --config configs/distillation_demo.py --list

The teacher is each run's own dense model; `text` rows also have it speak about sentences without
labels in thirty other languages, bundled, disjoint from what is evaluated (no labels of them are
used, but text: another setting than the paper's). Bundled encoder and intents, read at 31 % and
10 %. An epoch of a `text` row is half text and so twice as long: it has half the epochs. All rows
have the same number of training steps, the same rate, batch, teacher's weight and temperature.

A schedule that two CPU cores can bear: 1280 training rows, 160 dense steps, three cuts with 160
steps each; methods that start from the pretrained weights again have 320 before the first cut's
count. 200 test rows of each of ten languages. `:slots` is the same on tags of words.

Hardware: 2 CPU cores; 75 runs, which go on where they stopped. Not run yet.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.config import DEMO_LEFT, default_config, demo_config

METHODS = ("l2-mbp", "frobenius-mbp", "gradient-mbp", "movement", "smp-s")
TEACHER = "@distill.teacher=dense"
TEXT = f"{TEACHER}@distill.text=data@pruning.epochs_per_step=2"
SETTINGS = ("", TEACHER, TEXT)


def get_config(arg: str = ""):
    if arg not in ("", "slots"):
        raise UserError(f"--config: unknown argument :{arg}; there is only :slots")
    config = default_config(demo_config(train_examples=1280, first_epochs=4, epochs_per_step=4))
    config.base.pruning.steps = 3
    config.base.pruning.explicit = (DEMO_LEFT[0], DEMO_LEFT[1], DEMO_LEFT[3])
    config.base.eval.examples = 200
    methods = METHODS if not arg else ("l2-mbp", "frobenius-mbp")
    config.methods = tuple(method + setting for method in methods for setting in SETTINGS)
    config.tasks = (arg or "intents",)
    config.seeds = (0, 1, 2, 3, 4)
    config.remaining = (DEMO_LEFT[1], DEMO_LEFT[3])
    return config
