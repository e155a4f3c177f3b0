"""The bundled demo of a token task: slots in voice commands, English labels, 33 languages.

    python -m alignreg_jax.main --config configs/demo_slots.py
    python -m alignreg_jax.main --config configs/demo_slots.py:smoke    the same path, quicker

Eight kinds of slot in IOB2 tags, scored as F1 over spans. Settings as in configs/demo.py.

Hardware: 2 CPU cores.
"""

from alignreg_jax.config import demo_config


def get_config(arg: str = ""):
    return demo_config("slots", arg)
