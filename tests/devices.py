"""Cases of a test that need eight devices."""

from functools import partial

import pytest

on_eight = partial(pytest.param, marks=pytest.mark.sharded)
