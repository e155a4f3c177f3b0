"""What is said before a run, and of runs before it."""

import inspect
import json
import os
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from tiny import configured

from alignreg_jax.run import outline
from alignreg_jax.run.plan import Phases


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


@pytest.mark.parametrize("many", [False, True])
def test_labels_are_counted_so_that_a_typo_is_seen(many):
    names = [f"l{number}" for number in range(12)] if many else ["buy", "by", "sell"]
    numbers = np.repeat(np.arange(len(names)), range(1, len(names) + 1))
    numbers = np.concatenate([numbers, [-1, -2, -2]])
    inputs = SimpleNamespace(
        dataset=SimpleNamespace(labels=names), train=SimpleNamespace(labels=numbers)
    )
    said = inspect.unwrap(outline._labels)(inputs)
    few = "3: sell 3, by 2, buy 1"
    assert said == ("12: l11 12, l10 11, l9 10, l8 9, ..., l3 4, l2 3, l1 2, l0 1" if many else few)


def test_movement_without_a_penalty_is_advised_against_where_steps_are_few(world):
    method = "--config.method=movement"
    (line,) = outline._advice(configured(world, method), 19_999)
    assert "--config.regularizer.name=scores --config.pruning.warmup=0" in line
    given = configured(world, method, *re.findall(r"--config\.\S+=\w+", line))
    assert (given.regularizer.name, given.pruning.warmup) == ("scores", 0)
    named = configured(world, "--config.method=movement-penalty")
    assert replace(given, method="movement-penalty") == named
    assert outline._advice(configured(world, method), 20_000) == []
    assert outline._advice(configured(world, "--config.method=l2-mbp"), 100) == []
    for name in ("soft-movement", "movement-penalty", "smp-s"):
        config = configured(world, f"--config.method={name}")
        assert outline._advice(config, 4_000) == []
        (line,) = outline._advice(config, 3_999)
        assert "behind magnitude" in line


@pytest.mark.parametrize(("cuts", "said"), [(1, "after the cut, to"), (2, "after each of 2 cuts")])
def test_one_cut_is_not_counted(world, cuts, said):
    config = configured(world, f"--config.pruning.steps={cuts}")
    assert said in outline._words(Phases.from_config(config, 40), ())


@pytest.mark.parametrize("cuts", [1, 3])
def test_the_schedule_of_a_run_that_starts_again_adds_up(world, cuts):
    flags = ("--config.method=movement", f"--config.pruning.steps={cuts}")
    config = configured(world, *flags)
    said = outline._words(Phases.from_config(config, 40), ())
    numbers = [int(number) for number in re.findall(r"(\d+)(?= steps| dense| for)", said)]
    total, dense, first, *later = numbers
    assert said.count("%") == cuts
    assert "from the pretrained weights again" in said
    assert total == dense + first + (cuts - 1) * sum(later)
