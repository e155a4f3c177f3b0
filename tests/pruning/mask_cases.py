"""Cuts by magnitude, and what tests ask of masks."""

from functools import partial

import jax
import numpy as np

from alignreg_jax.pruning import criteria, kernels, masks
from alignreg_jax.pruning.kernels import KERNELS

SCOPES = ("layer", "global")
TOP_K = {scope: jax.jit(partial(masks.top_k, scope=scope)) for scope in SCOPES}


def assert_equal(found, expected):
    for name in KERNELS:
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(expected[name]), name)


def total(tree):
    return sum(int(np.sum(tree[name])) for name in KERNELS)


def prune(weights, old, remaining, scope, run=None):
    keep = masks.keep_counts(kernels.sizes(weights), remaining, scope)
    return (run or TOP_K[scope])(criteria.magnitude(weights), old, keep), keep
