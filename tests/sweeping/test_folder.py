"""What a sweep's folder says of itself and of its runs."""

import json
from pathlib import Path

import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.folder import Folder


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "sweep")


@pytest.fixture
def run(planned):
    return planned(seeds=(0,))[0]


def resolved(configured, base=None, **fields):
    return sweeps.resolve(configured(base, **fields))


def test_rows_tasks_and_seeds_may_grow_and_shrink(folder, configured):
    folder.check(resolved(configured))
    folder.write(resolved(configured), "the command")
    assert json.loads((folder.path / "sweep.json").read_text())["command"] == "the command"
    for fields in (
        {"seeds": (0,)},
        {"seeds": (0, 1, 2, 3)},
        {"methods": ("l2-mbp", "lamp")},
        {"tasks": ("intents", "xnli")},
        {"remaining": (0.9**4,)},
        {"methods": ("lamp",), "baseline": "lamp"},
    ):
        folder.check(resolved(configured, **fields))
    folder.check(resolved(configured, {"mesh.data": 2, "checkpoint.keep": 5, "model.remat": True}))


def test_what_all_runs_have_in_common_may_not_change(folder, configured):
    folder.write(resolved(configured), "the command")
    with pytest.raises(UserError) as caught:
        folder.check(resolved(configured, {"train.batch_size": 8, "data_seed": 3}))
    for words in ("base.train.batch_size (32 -> 8)", "base.data_seed (0 -> 3)", str(folder.path)):
        assert words in str(caught.value)


def test_inputs_may_move_and_fields_may_come(folder, configured):
    folder.write(resolved(configured), "the command")
    moved = resolved(configured, {"task.data_dir": "elsewhere", "model.name_or_path": "here"})
    folder.check(moved)
    path = folder.path / "sweep.json"
    content = json.loads(path.read_text())
    del content["config"]["base"]["train"]["freeze"], content["config"]["base"]["data_seed"]
    path.write_text(json.dumps(content))
    folder.check(moved)
    with pytest.raises(UserError, match=r"base\.data_seed \(0 -> 1\)"):
        folder.check(resolved(configured, {"data_seed": 1}))


def test_runs_with_other_inputs_are_named_together(folder, planned):
    first, second, third, *_ = planned(seeds=(0, 1), methods=("l2-mbp", "lamp"))
    folder.refuse([])
    changed = [(first, "labels"), (second, "encoder"), (third, "labels")]
    with pytest.raises(UserError) as caught:
        folder.refuse(changed)
    assert f"{first.name}, {third.name} (labels); {second.name} (encoder)" in str(caught.value)


def test_something_else_is_there(folder, configured, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="not empty and holds no sweep"):
        Folder(tmp_path).check(resolved(configured))
    with pytest.raises(UserError, match="is a file"):
        Folder(tmp_path / "thesis.tex").check(resolved(configured))
    for content in ("", "{}", "[]", '{"config": {"base": 3}}'):
        folder.path.mkdir(exist_ok=True)
        (folder.path / "sweep.json").write_text(content)
        with pytest.raises(UserError, match=r"sweep\.json: not the config of a sweep"):
            folder.check(resolved(configured))


def test_killed_at_the_very_start(folder, configured):
    folder.path.mkdir()
    (folder.path / ".sweep.json.abcd_123").touch()
    folder.check(resolved(configured))


def test_states(folder, run):
    workdir = folder.workdir(run)
    assert folder.state(run) == "to do"
    assert not folder.path.exists()
    with workdirs.locked(workdir):
        assert folder.state(run) == "running"
    assert folder.state(run) == "to do"
    workdirs.write_config(workdir, run.config, "the command", {})
    assert folder.state(run) == "part"
    folder.record(run, "it failed", "Traceback\n  of two lines")
    assert folder.state(run) == "failed"
    assert folder.failure(run) == "it failed"
    (workdir / "results.json").write_text('{"finished": true}')
    assert folder.state(run) == "done"
    folder.forgive(run)
    assert folder.failure(run) is None
    assert not (folder.path / "failed").exists()
    folder.forgive(run)


def test_a_runs_folder_with_another_run(folder, run, planned):
    other = planned({"train.batch_size": 8}, seeds=(0,))[0]
    workdirs.write_config(folder.workdir(run), other.config, "the command", {})
    with pytest.raises(UserError, match=r"train\.batch_size \(8 -> 32\)"):
        folder.state(run)


def test_failures_of_other_runs_stay(folder, planned):
    first, second = planned(seeds=(0, 1), methods=("l2-mbp",))
    folder.record(first, "one")
    folder.record(second, "two")
    folder.forgive(first)
    assert folder.failure(second) == "two"


def test_the_state_of_a_run_is_read_where_nothing_can_be_written(folder, run, monkeypatch):
    """Whether another process holds its lock, too."""
    workdir = folder.workdir(run)
    with workdirs.locked(workdir):
        workdirs.write_config(workdir, run.config, "the command", {})
        opened = Path.open

        def read_only(path, mode="r", *given, **named):
            if mode not in ("r", "rb"):
                raise PermissionError(30, "Read-only file system")
            return opened(path, mode, *given, **named)

        monkeypatch.setattr(Path, "open", read_only)
        monkeypatch.setattr("os.access", lambda *given: False)
        assert folder.state(run) == "running"
    assert folder.state(run) == "part"
    (workdir / ".lock").unlink()
    assert folder.state(run) == "part"
    assert not (workdir / ".lock").exists()
