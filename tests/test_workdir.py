import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from alignreg_jax import workdir as workdirs
from alignreg_jax.config import CheckpointConfig, ExperimentConfig, MeshConfig, TrainConfig
from alignreg_jax.errors import UserError

CONFIG = ExperimentConfig()


@pytest.fixture
def used(tmp_path):
    """A workdir that holds a run of CONFIG."""
    workdirs.write_config(tmp_path, CONFIG, "python -m alignreg_jax.main")
    return tmp_path


def test_config_json(used):
    content = json.loads((used / "config.json").read_text())
    assert content["command"] == "python -m alignreg_jax.main"
    assert content["config"]["train"]["batch_size"] == 32
    assert content["config"]["task"]["languages"] == []
    assert set(content["versions"]) >= {"alignreg_jax", "jax", "flax", "numpy", "python"}
    assert content["versions"]["jax"]
    assert len(content["devices"]) == 8
    assert content["cores"] == os.cpu_count()
    assert "commit" in content
    assert [path.name for path in used.iterdir()] == ["config.json"]


def test_same_configuration_continues(used):
    assert workdirs.check_same(used, CONFIG)
    assert not workdirs.check_same(used / "new", CONFIG)
    assert not (used / "new").exists()


def test_how_it_runs_may_change_and_what_it_runs_may_not(used):
    elsewhere = replace(CONFIG, mesh=MeshConfig(tensor=2), checkpoint=CheckpointConfig(keep=3))
    assert workdirs.check_same(used, elsewhere)
    other = replace(CONFIG, seed=1, train=TrainConfig(batch_size=16))
    with pytest.raises(UserError, match=r"seed \(0 -> 1\), train\.batch_size \(32 -> 16\)"):
        workdirs.check_same(used, other)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"config": 3}', "\udc80"])
def test_config_json_of_something_else(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json: not the config of a run"):
        workdirs.check_same(tmp_path, CONFIG)


@pytest.mark.parametrize("name", [".lock", ".config.json.abcd1234"])
def test_killed_before_config_json_was_there(tmp_path, name):
    (tmp_path / name).touch()
    assert not workdirs.check_same(tmp_path, CONFIG)


@pytest.mark.parametrize("name", ["x", ".bashrc", ".config.json", "model.safetensors"])
def test_not_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="not empty and holds no run"):
        workdirs.check_same(tmp_path, CONFIG)


def test_lock_sweeps_half_written_files_and_nothing_else(tmp_path):
    names = (
        ".results.json.abcd_123", "checkpoints/.000001.json.00000000",
        "predictions/2/.en.test.txt.aaaabbbb",
        "predictions/xglue/2/test/POS/.en.prediction.aaaabbbb",
    )  # fmt: skip
    kept = (".lock", ".gitignore", "results.json", ".export.partial/.a.aaaabbbb", ".a.bb", "notes")
    for name in (*names, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with workdirs.locked(tmp_path):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left.isdisjoint(names)
    assert left >= set(kept)


def test_processes_of_one_run_may_check_at_the_same_time(tmp_path):
    with (tmp_path / ".lock").open("w+") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as while another one checks
        workdirs.check_free(tmp_path)


def test_one_process_at_a_time(tmp_path):
    """The lock goes with the process that held it, however it ends."""
    workdir = tmp_path / "run"
    workdirs.check_free(workdir)
    assert not workdir.exists()
    with workdirs.locked(workdir):
        for refuse in (workdirs.check_free, lambda path: workdirs.locked(path).__enter__()):
            with pytest.raises(UserError, match="another process"):
                refuse(workdir)
    workdirs.check_free(workdir)
    holder = (
        "import sys, time, pathlib; from alignreg_jax import workdir\n"
        "with workdir.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(workdir)], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with pytest.raises(UserError, match="another process"):
            workdirs.check_free(workdir)
        process.kill()
    with workdirs.locked(workdir):
        pass
