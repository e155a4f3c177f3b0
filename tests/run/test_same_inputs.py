"""A run that was stopped goes on with the inputs it was begun with, wherever they lie now."""

import json
import shutil
import sys
import tarfile
from contextlib import contextmanager

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file
from tiny import configured

from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.run import experiment as experiments
from alignreg_jax.run import member
from alignreg_jax.run.artifacts import Artifacts
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.training.trainer import Trainer

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture(scope="module")
def world(mixed_world):
    return mixed_world


@pytest.fixture(autouse=True)
def _one_config_file(monkeypatch):
    """The library loads a second config file of a process on top of the first."""
    monkeypatch.delitem(sys.modules, "config_config", raising=False)


@contextmanager
def interrupting():
    """Whoever would train after a cut is interrupted."""
    prune = Trainer.prune

    def interrupted(self, *plans, **named):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:

        def last(self, *arguments):
            prune(self, *arguments)
            patch.setattr(Trainer, "dispatch", interrupted)

        patch.setattr(Trainer, "prune", last)
        yield


@pytest.fixture
def interrupted():
    with interrupting():
        yield


@pytest.fixture(scope="module")
def stopped(world, tmp_path_factory):
    """The workdir of a run that was interrupted after its first cut."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch, interrupting():
        patch.delitem(sys.modules, "config_config", raising=False)
        assert main(tiny.command(world, workdir)) == 130
    return workdir


@pytest.fixture
def moved(world, tmp_path):
    """The same world elsewhere, to be changed; and the flags that say so."""
    copied = tiny.World(tmp_path / "world")
    for name in ("data", "encoder"):
        shutil.copytree(world.folder / name, copied.folder / name)
    return copied, located(f"{copied.data}/", copied.encoder)


def located(data, encoder):
    return [f"--config.task.data_dir={data}", f"--config.model.name_or_path={encoder}"]


def snapshot(folder):
    """Whatever a run writes; the lock is there to be taken."""
    paths = (path for path in folder.rglob("*") if path.name != ".lock")
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def a_word(world):
    path = world.data / "de.test.jsonl"
    rows = lines_of(path)
    path.write_text("".join([*rows[:4], rows[4].replace("de", "sw", 1), *rows[5:]]))


def labels_swapped(world):
    path = world.data / "en.train.jsonl"
    rows = [json.loads(line) for line in lines_of(path)]
    assert rows[0]["label"] != rows[1]["label"]
    rows[0]["label"], rows[1]["label"] = rows[1]["label"], rows[0]["label"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def a_row_more(world):
    with (world.data / "sw.dev.jsonl").open("a") as file:
        file.write(json.dumps({"text": "sw1", "label": "on"}) + "\n")


def rows_fewer(world):
    for name in ("en.train", "de.dev"):
        path = world.data / f"{name}.jsonl"
        path.write_text("".join(lines_of(path)[:-2]))


def other_order(world):
    path = world.data / "en.train.jsonl"
    path.write_text("".join(reversed(lines_of(path))))


def a_language_more(world):
    shutil.copy(world.data / "de.test.jsonl", world.data / "fr.test.jsonl")


def a_language_less(world):
    (world.data / "sw.test.jsonl").unlink()


def a_new_label(world):
    with (world.data / "en.train.jsonl").open("a") as file:
        file.write(json.dumps({"text": "en1", "label": "shut"}) + "\n")


def a_new_word(world):
    with (world.data / "en.train.jsonl").open("a") as file:
        file.write(json.dumps({"text": "unheard", "label": "on"}) + "\n")


def labels_in_another_order(world):
    (world.data / "labels.json").write_text(json.dumps(tiny.LABELS[::-1]))


def a_weight(world):
    path = world.encoder / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.layer.0.output.dense.weight"][0, 0] += np.float32(1e-3)
    save_file(tensors, path, metadata={"format": "pt"})


def dropout(world):
    path = world.encoder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_dropout_prob": 0.2}))


def pieces_swapped(world):
    path = world.encoder / "tokenizer.json"
    content = json.loads(path.read_text())
    pieces = content["model"]["vocab"]
    pieces[5], pieces[6] = pieces[6], pieces[5]
    path.write_text(json.dumps(content))


def several(world):
    for change in (a_word, a_language_more, a_weight):
        change(world)


CHANGES = {
    a_word: "rows of de.test",
    labels_swapped: "rows of en.train",
    a_row_more: "rows of sw.dev",
    rows_fewer: "rows of de.dev, en.train",
    other_order: "rows of en.train",
    a_language_more: "rows of fr.test (not there before)",
    a_language_less: "rows of sw.test (not there any more)",
    a_new_label: "rows of en.train, labels",
    a_new_word: "rows of en.train",
    labels_in_another_order: "labels",
    a_weight: "encoder",
    dropout: "encoder",
    pieces_swapped: "tokenizer",
    several: "rows of de.test, fr.test (not there before), encoder",
}
PIECES = {  # of those that the data use; a complete run is told without tokenising
    a_new_word: ", active pieces",
    pieces_swapped: "",  # both are used
}


@pytest.mark.parametrize("complete", [False, True], ids=["stopped", "complete"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_differs_is_named(world, stopped, moved, tmp_path, capsys, change, complete):
    workdir = tiny.copy(stopped, tmp_path / "run")
    if complete:
        (workdir / "results.json").write_text('{"finished": true}')
    changed, flags = moved
    change(changed)
    before = snapshot(workdir)
    capsys.readouterr()
    assert main(tiny.command(world, workdir, *flags)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    found = CHANGES[change] + ("" if complete else PIECES.get(change, ""))
    assert output.err.splitlines()[-1] == (
        f"error: --workdir={workdir} was begun with other inputs: {found}; bring those back, or to "
        f"start over, give another --workdir or delete {workdir}"
    )
    assert snapshot(workdir) == before


@pytest.mark.usefixtures("interrupted")
def test_it_goes_on_where_its_inputs_have_moved(world, stopped, moved, tmp_path, caplog):
    """And config.json says where they were at first."""
    workdir = tiny.copy(stopped, tmp_path / "run")
    before = (workdir / "config.json").read_bytes()
    with caplog.at_level("INFO"):
        assert main(tiny.command(world, workdir, *moved[1])) == 130
    assert "continuing from step 10 in phase 0" in caplog.text
    assert [event["kind"] for event in tiny.events(workdir)][-2:] == ["eval", "prune"]
    assert (workdir / "config.json").read_bytes() == before


@pytest.mark.parametrize("lost", [False, True], ids=["changed", "lost"])
def test_an_export_has_the_tokenizer_that_was_used(world, moved, tmp_path, lost):
    """It is copied at the end, which may be days after it was read."""
    elsewhere = configured(world, *moved[1])
    inputs = load_inputs(elsewhere)
    pieces_swapped(moved[0])
    path = moved[0].encoder / "tokenizer.json"
    if lost:
        path.unlink()
    artifacts = Artifacts(tmp_path / "run", elsewhere, inputs, "the command")
    with pytest.raises(UserError, match=rf"^{path}: .*; bring it back, and the same command"):
        artifacts.export(inputs.encoder.params, {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", ["./data", "data/", "encoder/../data", "link"])
def test_the_same_folder_by_another_name(world, stopped, moved, tmp_path, monkeypatch, data):
    workdir = tiny.copy(stopped, tmp_path / "run")
    monkeypatch.chdir(moved[0].folder)
    (moved[0].folder / "link").symlink_to("data")
    started = []

    def start(self):
        started.extend(member.workdir for member in self.members)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments.Experiment, "run", start)
    assert main(tiny.command(world, workdir, *located(data, "./encoder/"))) == 130
    assert started == [workdir]


def test_every_seed_side_by_side(world, stopped, moved, tmp_path, capsys):
    """One of the folders was begun with other inputs; none is touched."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        workdir = tiny.copy(stopped, folder / f"s{seed}")
        path = workdir / "config.json"
        content = json.loads(path.read_text())
        content["config"]["seed"] = seed
        if seed:
            content["inputs"]["rows"]["de.test"] = "another"
        path.write_text(json.dumps(content))
    before = snapshot(folder)
    assert main(tiny.command(world, folder, "--config.seeds=2")) == 2
    assert (
        f"{folder / 's1'} was begun with other inputs: rows of de.test; "
        in (capsys.readouterr().err.splitlines()[-1])
    )
    assert snapshot(folder) == before


# ---- A workdir of commit 0e987c3 ----------------------------------------------------------------


@pytest.fixture
def old(world, tmp_path):
    """As that commit left it when it was stopped in the first phase after a cut; no digests."""
    with tarfile.open(tiny.ROOT / "tests" / "workdir-0e987c3.tar.xz") as archive:
        archive.extractall(tmp_path)
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace("@WORLD@", str(world.folder)))
    return tmp_path / "run"


def test_an_old_workdir_goes_on(world, old, caplog):
    """And from then on it knows its inputs."""
    before = json.loads((old / "config.json").read_text())
    assert "inputs" not in before
    with caplog.at_level("INFO"):
        assert main(tiny.command(world, old, f"--config.task.data_dir={world.data}/")) == 0
    assert "continuing from step 10 in phase 0" in caplog.text
    assert "could not be checked" in caplog.text
    assert member.finished(old)
    after = json.loads((old / "config.json").read_text())
    assert set(after.pop("inputs")["rows"]) > {"en.train", "de.test"}
    assert after == before


def test_inputs_of_an_old_workdir_may_not_move(world, old, moved, capsys):
    """What lies elsewhere cannot be told from something else."""
    before = snapshot(old)
    assert main(tiny.command(world, old, *moved[1])) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "model.name_or_path" in line
    assert "task.data_dir" in line
    assert snapshot(old) == before
