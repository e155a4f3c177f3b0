"""Paths whose bytes are not UTF-8, as old file systems hold: they work, or one line says no."""

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny

from alignreg_jax.config import (
    EvalConfig,
    ExperimentConfig,
    ModelConfig,
    PruningConfig,
    TaskConfig,
    TrainConfig,
)
from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.support import flags
from alignreg_jax.support.files import atomic_write

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def latin(tmp_path):
    """A folder in Latin-1, as a path of Python's: it has a surrogate."""
    return Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))


def test_inputs_may_lie_in_a_folder_that_is_not_utf_8(world, latin, tmp_path):
    shutil.copytree(world.encoder, latin / "encoder")
    shutil.copytree(world.data, latin / "data")
    config = ExperimentConfig(
        model=ModelConfig(name_or_path=str(latin / "encoder")),
        task=TaskConfig(name="folder", source="folder", data_dir=str(latin / "data")),
        train=TrainConfig(batch_size=8),
        pruning=PruningConfig(steps=2, first_epochs=15, scope="layer"),
        eval=EvalConfig(batch_size=8),
    )
    inputs = load_inputs(config)
    assert inputs.train.rows == tiny.ROWS["train"]
    # And what is written of them is UTF-8, and read back as it was
    run = tmp_path / "run"
    workdirs.write_config(run, config, f"python --config {latin}/tiny.py", inputs.digests)
    stored = json.loads((run / "config.json").read_bytes().decode("utf-8"))
    assert stored["config"]["task"]["data_dir"] == str(latin / "data")
    assert workdirs.check_same(run, config)
    atomic_write(run / "README.md", f"made by --config {latin}/tiny.py")
    assert (run / "README.md").read_text("utf-8").endswith(r"caf\udce9/tiny.py")


def test_a_config_file_may_lie_in_a_folder_that_is_not_utf_8(world, latin, tmp_path, capfd):
    latin.mkdir()
    shutil.copy(world.config, latin)
    arguments = ["--config", str(latin / "tiny.py"), "--workdir", str(tmp_path / "run")]
    assert main([*arguments, "--config.eval.splits=elsewhere"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: eval.splits=")


def test_a_workdir_that_is_not_utf_8_is_refused_untouched(world, latin, monkeypatch, capfd):
    assert main(tiny.command(world, latin)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: --workdir=")
    assert line.endswith("the path is not UTF-8; give another")
    assert not latin.exists()
    latin.mkdir()
    monkeypatch.chdir(latin)
    with pytest.raises(UserError, match="--workdir=run: the path is not UTF-8"):
        workdirs.check_same(Path("run"), ExperimentConfig())


@pytest.mark.parametrize("place", ["{name}", "new/{name}/below"])
def test_a_folder_with_a_name_that_is_too_long_is_refused(place, tmp_path):
    longest = "ä" * 127 + "a"  # 255 bytes
    text = str(tmp_path / place.format(name=longest + "a"))
    with pytest.raises(UserError, match="a name in it is longer than 255 bytes"):
        flags.new_folder(text)
    short = str(tmp_path / place.format(name=longest))
    assert flags.new_folder(short) == Path(short)
