"""Encoders that come pruned: what is said of them, and what cuts leave of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, zeros
from alignreg_jax.pruning.kernels import KERNELS

SHAPE = (2, 10, 20)


def sparse(*shares):
    """Kernels with the given shares of weights that are not zero, layer by layer."""
    generator = np.random.default_rng(0)
    kernels = {name: generator.uniform(1, 2, SHAPE).astype(np.float32) for name in KERNELS}
    for kernel in kernels.values():
        for matrix, share in zip(kernel, shares, strict=True):
            matrix.flat[round(matrix.size * share) :] = 0
    return kernels


def test_what_is_said():
    dense, pruned = sparse(1, 1), sparse(0.4, 0.2)
    say = zeros.note
    assert say(dense, quantized=False, kept=False) is None
    for quantized in (False, True):
        told = say(pruned, quantized=quantized, kept=False)
        assert "70.0%" in told
        assert "pruning.keep_zeros=true" in told
    assert say(sparse(0.9, 0.8), quantized=True, kept=False) is None  # rounding makes zeros, too
    assert "15.0%" in say(sparse(0.9, 0.8), quantized=False, kept=False)
    assert "70.0%" in say(pruned, quantized=False, kept=True)


def test_nothing_is_said_of_the_bundled_encoder():
    loaded = checkpoints.load(checkpoints.DEMO, head="linear", labels=("a", "b"), seed=0)
    kernels, _ = prunable.split(loaded.params)
    assert zeros.note(kernels, quantized=loaded.quantized, kept=False) is None


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_cuts_leave_what_the_schedule_says_they_do(scope):
    """Cut for cut, against the masks themselves."""
    kernels = sparse(0.7, 0.25)
    sizes = prunable.sizes(kernels)
    fractions = {0: 1.0, 1: 0.6, 2: 0.4, 3: 0.1}
    left = zeros.as_cut(fractions.__getitem__, sizes, zeros.standing(kernels), scope)
    scores = {name: jnp.asarray(kernel) for name, kernel in kernels.items()}
    kept = masks.nonzero(scores)
    for phase, fraction in fractions.items():
        kept = masks.top_k(scores, kept, masks.keep_counts(sizes, fraction, scope), scope)
        found = sum(int(mask.sum()) for mask in kept.values()) / (6 * 400)
        assert left(phase) == pytest.approx(found, abs=1e-12)
    assert left(0) == pytest.approx(0.475)


def test_a_first_cut_that_prunes_nothing():
    zeros.check_first_cut(0.5, before=0.6, after=0.5)
    zeros.check_first_cut(0.65, before=0.6, after=0.55)  # of layers some are denser
    with pytest.raises(UserError, match=r"^pruning\.keep_zeros: 31\.0%.* 90\.0%"):
        zeros.check_first_cut(0.9, before=0.31, after=0.31)
