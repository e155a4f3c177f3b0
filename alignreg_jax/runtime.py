"""Process-wide settings of JAX, made before the first array."""

import jax

from alignreg_jax import processes
from alignreg_jax.data.encoding import default_cache_dir


def prepare(distributed: str = "off") -> None:
    """Keep compiled programs between runs, beside the tokenised data; join other processes.

    Raises:
        UserError: `distributed`, a mode of processes.connect, is none or does not work here.
    """
    jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    processes.connect(distributed)
