"""Settings that every test runs under; must come before the package is imported."""

import gc
import os
import tempfile

from xla_flags import EIGHT_DEVICES, QUICKLY, UNOPTIMIZED

gc.set_threshold(100_000, 50, 100)  # traces are many small objects that live on
os.environ.setdefault("ALIGNREG_CACHE", os.path.join(tempfile.gettempdir(), "alignreg-test-cache"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("XLA_FLAGS", UNOPTIMIZED)

import checked_types

checked_types.install()

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.path.join(os.environ["ALIGNREG_CACHE"], "xla"))


def pytest_configure(config):
    """Set XLA's flags for the tests that were asked for: a process reads them once."""
    asked = config.option.markexpr
    flags = [QUICKLY] if "not exact" in asked else []
    flags += [EIGHT_DEVICES] if "not sharded" not in asked else []
    for flag in flags:
        if flag not in os.environ["XLA_FLAGS"]:  # which workers inherit
            os.environ["XLA_FLAGS"] += f" {flag}"


def pytest_collection_modifyitems(items):
    """Files with slow tests first: a worker that met one last would work while others rest."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # stable: nothing else changes


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The encoder, data and config that whole runs are made of in tests."""
    import tiny

    return tiny.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def mixed_world(tmp_path_factory):
    """The same with rows of two padded lengths, for tests of what depends on them."""
    import tiny

    return tiny.build(tmp_path_factory.mktemp("mixed"), tiny.MIXED)
