"""The README's code runs."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax import config
from alignreg_jax.pruning import masks, methods
from alignreg_jax.pruning.kernels import KERNELS

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.fixture
def snippet():
    """The section "Add a method", executed; the tables are put back afterwards."""
    code = re.search(r"## Add a method.*?```python\n(.*?)```", README, re.DOTALL)[1]
    before = dict(methods.CRITERIA), dict(methods.PRESETS)
    exec(code, {})
    yield
    for table, rows in zip((methods.CRITERIA, methods.PRESETS), before, strict=True):
        table.clear()
        table.update(rows)


def test_the_readmes_method_can_be_chosen_and_prunes_by_its_scores(snippet):
    wanted = config.default_config()
    wanted.method = "relative-global-mbp"
    resolved = config.resolve(wanted)
    assert resolved.pruning.criterion == "relative"
    method = methods.build(criterion="relative", scope="global")
    # One matrix a thousand times larger: magnitude would keep it whole, relative magnitude does not
    random = np.random.default_rng(0)
    kernels = {name: jnp.asarray(random.normal(size=(1, 8, 8))) for name in KERNELS}
    kernels["output"] = kernels["output"] * 1000
    kept = method.prune(kernels, masks.ones(kernels), {}, {}, 6 * 32, jax.random.key(0))
    assert sum(int(mask.sum()) for mask in kept.values()) == 6 * 32
    assert int(kept["output"].sum()) < 64


def test_the_readmes_table_lists_every_method():
    listed = set(re.findall(r"^\| `([\w-]+)` \|", README, re.MULTILINE))
    assert listed == set(methods.PRESETS)
