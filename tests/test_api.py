"""The programs as functions; docs/journeys call them at length (test_journeys.py)."""

import inspect
import json
import runpy
import subprocess
import sys

import pytest
import tiny
import tiny_sweep

import alignreg_jax
from alignreg_jax import api
from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.support.callable_module import PROGRAMS

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("api") / "world")


def config_of(path):
    return runpy.run_path(str(path))["get_config"]()


def test_a_run_is_the_commands_run(world, tmp_path, capsys):
    """Two seeds; the command finds the work of the function done."""
    config = config_of(world.config)
    config.seeds = 2
    found = alignreg_jax.run(config, tmp_path / "run")
    stored = [json.loads((tmp_path / f"run/s{seed}/results.json").read_text()) for seed in (0, 1)]
    assert [each["seed"] for each in found] == [0, 1]
    assert found == stored
    assert main([*tiny.command(world, tmp_path / "run"), "--config.seeds=2"]) == 0
    again = alignreg_jax.run(config, tmp_path / "run")
    assert again == stored
    config.seeds, config.train.batch_size = 1, 32
    with pytest.raises(UserError, match=r"train\.batch_size"):
        alignreg_jax.run(config, tmp_path / "run/s0")


def test_a_sweep_gives_every_score(world, tmp_path):
    config = config_of(tiny_sweep.write(world))
    config.methods, config.seeds = ("l2-mbp", "random@train.learning_rate=1e30"), (0,)
    with pytest.raises(UserError, match=r"failed: .*why is in"):
        alignreg_jax.sweep(config, tmp_path / "sweep")
    config.methods = ("l2-mbp",)
    scores = alignreg_jax.sweep(config, tmp_path / "sweep")  # done already
    assert set(scores.method) == {"l2-mbp"}
    assert set(scores.language) >= set(tiny.LANGUAGES)
    assert (tmp_path / "sweep/table.html").is_file()


def test_keywords_are_flags():
    given = {"max_mb": 3.5, "languages": ("de", "sw"), "mixed": True, "portable": False,
             "size": None, "text": ["a,b.txt", "c.txt"], "quantize": "int8"}  # fmt: skip
    assert api._flags(given) == [
        "--max-mb=3.5", "--languages=de,sw", "--mixed", "--text", "a,b.txt", "c.txt",
        "--quantize=int8",
    ]  # fmt: skip
    assert api._flags({"text": "one.txt"}) == ["--text", "one.txt"]


def test_programs_show_what_they_take(tmp_path):
    for name in PROGRAMS:
        program, function = getattr(alignreg_jax, name), getattr(api, name)
        assert inspect.signature(program) == inspect.signature(function)
        assert function.__doc__.splitlines()[0] in program.__doc__
    code = "import sys, alignreg_jax; alignreg_jax.trim; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_programs_are_modules_that_can_be_called(tmp_path):
    for name in PROGRAMS:
        assert callable(getattr(alignreg_jax, name))
        assert getattr(alignreg_jax, name).__name__ == f"alignreg_jax.{name}"
    with pytest.raises(UserError, match=r"--form: invalid choice: 'small'"):
        alignreg_jax.shrink(tmp_path, tmp_path / "out", form="small")
    with pytest.raises(UserError, match=r"give --languages, --text or both"):
        alignreg_jax.trim(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="--max-flips=200"):
        alignreg_jax.deploy(tmp_path, tmp_path / "out", max_flips=200)
    with pytest.raises(AttributeError, match="has no attribute 'prune'"):
        alignreg_jax.prune  # noqa: B018
