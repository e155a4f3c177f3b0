import pytest

from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.plan import plan


@pytest.fixture
def configured():
    """The ConfigDict of a sweep on the bundled data, with fields changed."""

    def make(base=None, **fields):
        config = sweeps.default_config()
        config.tasks = ("intents",)
        config.base.task.source = "demo"
        for name, value in fields.items():
            config[name] = value
        for path, value in (base or {}).items():
            *sections, name = path.split(".")
            section = config.base
            for part in sections:
                section = section[part]
            section[name] = value
        return config

    return make


@pytest.fixture
def planned(configured):
    """The runs of such a sweep."""
    return lambda base=None, **fields: plan(sweeps.resolve(configured(base, **fields)))
