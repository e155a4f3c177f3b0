"""The bundled demo: voice commands, 23 intents, English labels, 31 languages.

    python -m alignreg_jax.main --config configs/demo.py          (`make demo`)
    python -m alignreg_jax.main --config configs/demo.py:plain    without a teacher and text
    python -m alignreg_jax.main --config configs/demo.py:smoke    the same path in about a minute

The dense model teaches what is pruned, on English and on sentences without labels in thirty other
languages. Hardware: 2 CPU cores, 4 to 7 minutes (`make demo`, which sets up and serves, too: 5 to
9). Expected: English .93 dense and .96 at 31 % remaining, the mean of the 30 other languages .52
and .52; :plain .49 (seed 0; another processor ends a point or two elsewhere).
"""

from alignreg_jax.config import demo_config
from alignreg_jax.errors import UserError


def get_config(arg: str = ""):
    if arg not in ("", "plain", "smoke"):
        raise UserError(f"--config: unknown argument :{arg}; there are :plain and :smoke")
    config = demo_config("intents", arg.removeprefix("plain"))
    if arg != "plain":
        config.distill.text = "data"
    return config
