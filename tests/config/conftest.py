import pytest

from alignreg_jax.config import resolve
from alignreg_jax.main import _parse


@pytest.fixture
def parsed(world):
    """The resolved config of a command line."""

    def parse(*flags, config=world.config):
        return resolve(_parse(["--config", str(config), *flags])[0])

    return parse
