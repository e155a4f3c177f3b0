"""The bundled demo of a token task: slots in voice commands, English labels, 33 languages.

    python -m alignreg_jax.main --config configs/demo_slots.py
    python -m alignreg_jax.main --config configs/demo_slots.py:smoke    the same path, quicker

Eight kinds of slot in IOB2 tags, scored as F1 over spans. Settings as in configs/demo.py.

Hardware: 2 CPU cores.
"""

from alignreg_jax.config import default_config
from alignreg_jax.errors import UserError

LANGUAGES = ("en", "de", "es", "fr", "ru", "fi", "hi", "ar", "th", "zh-CN")


def get_config(arg: str = ""):
    if arg not in ("", "smoke"):
        raise UserError(f"--config: unknown argument :{arg}; there is only :smoke")
    config = default_config()
    config.method = "frobenius-mbp"
    config.model.name_or_path = "demo"
    config.model.unroll = 12  # every layer: slower to compile, faster to run
    config.task.name = "slots"
    config.task.source = "demo"
    config.train.learning_rate = 1e-4
    config.train.warmup_steps = 20
    config.train.freeze = ("embeddings",)
    config.pruning.steps = 4
    config.pruning.final = 0.3138
    config.pruning.first_epochs = 3
    config.pruning.epochs_per_step = 1
    config.eval.splits = ("test",)
    config.eval.every_phase_languages = LANGUAGES
    if arg == "smoke":
        config.task.train_examples = 640
        config.pruning.first_epochs = 2
        config.pruning.steps = 2
        config.eval.languages = LANGUAGES[:4]
        config.eval.every_phase_languages = LANGUAGES[:2]
        config.eval.examples = 100
    return config
