"""Small trees of kernels for the pruning tests."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.pruning.kernels import KERNELS, Kernels

# XLM-R's proportions in miniature: four square kernels and two that are not.
SHAPES = dict.fromkeys(KERNELS, (2, 4, 4)) | {"intermediate": (2, 4, 8), "output": (2, 8, 4)}

# What the paper prunes: matrices and weights per matrix of the kernels of XLM-R base.
XLMR_BASE = dict.fromkeys(KERNELS, (12, 768 * 768)) | dict.fromkeys(
    ("intermediate", "output"), (12, 768 * 3072)
)


@pytest.fixture(scope="session")
def shapes() -> dict[str, tuple[int, int, int]]:
    return SHAPES


@pytest.fixture(scope="session")
def xlmr_base() -> dict[str, tuple[int, int]]:
    return XLMR_BASE


@pytest.fixture(scope="session")
def make_kernels() -> Callable[..., Kernels]:
    """Random normal kernels of the small shapes; `levels` rounds to so many values per unit."""

    def make(seed: int, *, levels: int | None = None, dtype=jnp.float32) -> Kernels:
        generator = np.random.default_rng(seed)
        kernels = {}
        for name in KERNELS:
            values = generator.normal(size=SHAPES[name])
            if levels is not None:
                values = np.round(values * levels) / levels
            kernels[name] = jnp.asarray(values, dtype)
        return kernels

    return make


@pytest.fixture(scope="session")
def fill() -> Callable[..., Kernels]:
    """Stack one matrix per named kernel; the others are single zero matrices."""

    def make(dtype=jnp.float32, **matrices) -> Kernels:
        named = {name.replace("_", "/"): matrix for name, matrix in matrices.items()}
        assert set(named) <= set(KERNELS)
        return {
            name: jnp.asarray(named.get(name, [[0.0] * 2] * 2), dtype)[None] for name in KERNELS
        }

    return make
