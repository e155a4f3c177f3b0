"""What is said before a run, and of runs before it."""

import json
import os
import shutil

import pytest
import tiny
from tiny import configured

from alignreg_jax.run import outline


@pytest.fixture
def beside(tmp_path):
    """Makes a folder as a complete run leaves it."""

    def make(name, config, seconds, age):
        folder = tmp_path / name
        folder.mkdir()
        made = {"config": outline.to_dict(config), "devices": ["cpu TFRT"] * 4}
        (folder / "config.json").write_text(json.dumps(made))
        (folder / "results.json").write_text(
            json.dumps({"finished": True, "wall_seconds": seconds, "prune_steps": []})
        )
        os.utime(folder / "results.json", (1e9 - age, 1e9 - age))
        return folder

    return make


def test_the_newest_run_that_differs_in_its_seed_alone_says_how_long_it_takes(tmp_path, beside):
    world = tiny.build(tmp_path / "world")
    config = configured(world)
    here = [tmp_path / "run"]
    assert outline._last_time(config, here) is None
    beside("other", configured(world, "--config.train.batch_size=32"), 1.0, 0)
    old = beside("old", configured(world, "--config.seed=3"), 99.0, 20)
    assert outline._last_time(config, here) == f"99 s on 4 x cpu TFRT ({old})"
    new = beside("new", configured(world, "--config.seed=4"), 77.4, 10)
    assert outline._last_time(config, here) == f"77 s on 4 x cpu TFRT ({new})"
    (new / "config.json").write_text("{")
    assert outline._last_time(config, here) == f"99 s on 4 x cpu TFRT ({old})"
    shutil.rmtree(old)
    assert outline._last_time(config, here) is None
