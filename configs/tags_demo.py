r"""Tags of words under pruning, with and without a penalty: slots, or parts of speech; three seeds.

    python -m alignreg_jax.sweep --config configs/tags_demo.py
    python tools/build_demo_encoder.py ud_pos ud_encoder --limit 0
    python -m alignreg_jax.sweep --config configs/tags_demo.py:ud_pos \
      --config.base.task.data_dir=ud_pos --config.base.model.name_or_path=ud_encoder

The first on the bundled data, 33 languages. The second on a folder of Universal Dependencies as in
configs/ud_pos.py; ud_encoder is the bundled encoder with the vocabulary of those texts.

A schedule that fits on a CPU: 1280 of the training rows (640 of Universal Dependencies, which are
longer), three dense epochs, one after each of two cuts of 44 %, and 100 of the test rows of each
language. Everything else as in configs/table1_demo.py.

Hardware: 2 CPU cores, about half an hour each. docs/results/tags_demo has what they found
when `eval.examples` still took the first rows of a file; now it draws rows at random.
"""

from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config


def get_config(arg: str = ""):
    if arg not in ("", "ud_pos"):
        raise UserError(f"--config: unknown argument :{arg}; there is only :ud_pos")
    config = default_config(
        demo_config(train_examples=1280, first_epochs=3, epochs_per_step=1, left=DEMO_LEFT[:2])
    )
    config.base.eval.languages = ()  # all there are
    config.base.eval.examples = 100
    if arg:
        config.base.task.train_examples = 640
        config.base.task.source = "folder"
        config.base.task.strip_space_marker = ("th", "zh")  # as XGLUE's baseline
    config.methods = ("l2-mbp", "frobenius-mbp")
    config.tasks = ("pos_tags",) if arg else ("slots",)
    config.remaining = (DEMO_LEFT[1],)
    return config
