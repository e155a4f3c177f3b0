"""A run: what it does, step by step, and what it keeps. `alignreg_jax.run(...)` calls it."""

from alignreg_jax.support.callable_module import make_callable

make_callable(__name__)
