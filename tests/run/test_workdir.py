import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from alignreg_jax.config import (
    CheckpointConfig,
    ExperimentConfig,
    MeshConfig,
    RegularizerConfig,
    TrainConfig,
)
from alignreg_jax.errors import UserError
from alignreg_jax.run import workdir as workdirs

CONFIG = ExperimentConfig()
INPUTS = {"rows": {"en.train": "0", "de.test": "1", "de.dev": "2"}, "labels": "3", "head": None}


@pytest.fixture
def used(tmp_path):
    """A workdir that holds a run of CONFIG."""
    workdirs.write_config(tmp_path, CONFIG, "python -m alignreg_jax.main", INPUTS)
    return tmp_path


@pytest.mark.sharded
def test_config_json(used):
    content = json.loads((used / "config.json").read_text())
    assert content["command"] == "python -m alignreg_jax.main"
    assert content["config"]["train"]["batch_size"] == 32
    assert content["config"]["task"]["languages"] == []
    assert content["inputs"] == INPUTS
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
    model = replace(CONFIG.model, remat=True, unroll=2, attention="einsum", norm="fused")
    train = replace(CONFIG.train, static_loop=True)
    assert workdirs.check_same(used, replace(CONFIG, model=model, train=train))
    other = replace(CONFIG, seed=1, train=TrainConfig(batch_size=16))
    with pytest.raises(UserError, match=r"seed \(0 -> 1\), train\.batch_size \(32 -> 16\)"):
        workdirs.check_same(used, other)


def located(data, encoder):
    task, model = replace(CONFIG.task, data_dir=data), replace(CONFIG.model, name_or_path=encoder)
    return replace(CONFIG, task=task, model=model)


def test_inputs_are_known_by_their_content_and_not_by_their_paths(used):
    assert workdirs.check_same(used, located("elsewhere", "moved"))
    workdirs.check_inputs(used, INPUTS)
    workdirs.check_inputs(used / "new", INPUTS)
    workdirs.check_inputs(used, {"labels": "3", "rows": INPUTS["rows"], "later": "5"})
    rows = {"en.train": "0", "de.test": "9", "fr.test": "1"}
    with pytest.raises(UserError) as caught:
        workdirs.check_inputs(used, INPUTS | {"rows": rows, "labels": "4", "head": "6"})
    assert str(caught.value) == (
        f"--workdir={used} was begun with other inputs: rows of de.dev (not there any more), "
        "de.test, fr.test (not there before), labels, the encoder's head; bring those back, or to "
        f"start over, give another --workdir or delete {used}"
    )


def change(workdir, edit):
    """Edit config.json."""
    content = json.loads((workdir / "config.json").read_text())
    edit(content)
    (workdir / "config.json").write_text(json.dumps(content))


def test_without_digests_paths_are_compared_by_where_they_lead(used, monkeypatch):
    monkeypatch.chdir(used)
    (used / "data").mkdir()
    (used / "link").symlink_to("data")

    def edit(content):
        del content["inputs"]
        content["config"]["task"]["data_dir"] = "data/"

    change(used, edit)
    workdirs.check_inputs(used, INPUTS)  # nothing to compare with
    name = CONFIG.model.name_or_path
    for path in ("./data", str(used / "data"), "link", f"{used}/x/../data//"):
        assert workdirs.check_same(used, located(path, name))
    for other in (located("other", name), located("data", "other"), located(None, name)):
        with pytest.raises(UserError, match=r"task\.data_dir|model\.name_or_path"):
            workdirs.check_same(used, other)


@pytest.mark.parametrize("field", ["task.train_examples", "eval.examples"])
def test_an_older_run_of_some_rows_only_had_others(used, field):
    section, name = field.split(".")

    def edit(content):
        del content["inputs"]
        content["config"][section][name] = 5

    change(used, edit)
    with pytest.raises(UserError, match=rf"other inputs: rows \({field}: then the first ones"):
        workdirs.check_inputs(used, INPUTS)


def test_digests_are_added_to_an_older_run_and_only_once(used, caplog):
    change(used, lambda content: content.pop("inputs"))
    before = json.loads((used / "config.json").read_text())
    workdirs.begin(used, CONFIG, "another command", INPUTS)
    assert json.loads((used / "config.json").read_text()) == before | {"inputs": INPUTS}
    assert caplog.text.count("could not be checked") == 1
    with pytest.raises(UserError, match="other inputs: labels"):
        workdirs.begin(used, CONFIG, "another command", INPUTS | {"labels": "4"})
    workdirs.begin(used, CONFIG, "another command", INPUTS)
    assert caplog.text.count("could not be checked") == 1


def test_a_field_that_came_later_counts_as_its_default(used):
    def edit(content):
        fields = content["config"]
        del fields["export"], fields["tracking"], fields["model"]["attention"]
        del fields["regularizer"]["weight"], fields["pruning"]["first_epochs"]  # filled in

    filled = replace(
        CONFIG,
        pruning=replace(CONFIG.pruning, criterion="magnitude", scope="layer", steps=12,
                        first_epochs=15),
        regularizer=RegularizerConfig("frobenius", 5e-4, "pretrained", phases="all"),
        train=replace(CONFIG.train, score_learning_rate=0.01),
    )  # fmt: skip
    workdirs.write_config(used, filled, "the command", INPUTS)
    change(used, edit)
    assert workdirs.check_same(used, filled)
    other = replace(filled, export=False, regularizer=replace(filled.regularizer, weight=0.5))
    said = r": export \(True -> False\), regularizer\.weight \(0\.0005 -> 0\.5\); to start over"
    with pytest.raises(UserError, match=said):
        workdirs.check_same(used, other)


def test_a_field_that_is_gone_counts_if_it_was_set(used):
    def edit(content):
        content["config"]["train"] |= {"momentum": 0.0, "tricks": [], "mode": None}
        content["config"]["old"] = {"off": False}

    change(used, edit)
    assert workdirs.check_same(used, CONFIG)
    change(used, lambda content: content["config"]["train"].update(momentum=0.9))
    with pytest.raises(UserError, match=r": train\.momentum \(0\.9 -> a field no longer\); to"):
        workdirs.check_same(used, CONFIG)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"config": 3}', '{"config": {"train": 3}}',
                                     '{"config": {"method": []}}', "\udc80"])  # fmt: skip
def test_config_json_of_something_else(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json: not the config of a run"):
        workdirs.check_same(tmp_path, CONFIG)


@pytest.mark.parametrize("name", [".lock", ".config.json.abcd1234"])
def test_killed_before_config_json_was_there(tmp_path, name):
    (tmp_path / name).touch()
    assert not workdirs.check_same(tmp_path, CONFIG)


def test_the_folder_of_several_seeds_is_not_that_of_one(tmp_path):
    for seed in (2, 3):
        workdirs.write_config(tmp_path / f"s{seed}", CONFIG, "the command", INPUTS)
    with pytest.raises(UserError, match=rf"\(s2, s3\).* or with one of them: .*{tmp_path}/s2$"):
        workdirs.check_same(tmp_path, CONFIG)


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
    kept = (
        ".lock", ".gitignore", "results.json", ".export.partial/.a.aaaabbbb", ".a.bb", "notes",
        ".export.partial.aaaabbbb/model.safetensors",  # half an export: who writes it anew takes it
    )  # fmt: skip
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
        "import sys, time, pathlib; from alignreg_jax.run import workdir\n"
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
