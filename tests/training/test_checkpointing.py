import hashlib
import json
import logging
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from alignreg_jax.errors import UserError
from alignreg_jax.training import checkpointing
from alignreg_jax.training.checkpointing import Checkpoints, abstract
from alignreg_jax.training.manifests import Position

START = Position(step=0, phase=1, epoch=2, dispatch=3, events=4, seconds=5.25)


def tree(number):
    values = np.arange(6, dtype=np.float32).reshape(2, 3) + number
    return jax.tree.map(jax.device_put, {"kernel": values, "mask": values > 3, "step": number})


def shapes():
    place = SingleDeviceSharding(jax.devices()[0])
    arrays = jax.tree.map(np.asarray, tree(0))
    return abstract(arrays, jax.tree.map(lambda leaf: place, arrays))


def restored(folder, keep=2):
    """The position's step and the tree of the checkpoint that is taken, or None."""
    found = Checkpoints(folder, keep).restore(lambda position: shapes())
    if found is None:
        return None
    state, position = found
    for ours, theirs in zip(
        jax.tree.leaves(state), jax.tree.leaves(tree(position.step)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert position == replace(START, step=position.step)
    return position.step


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of the steps 10 and 20."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(folder, 2)
    for step in (10, 20):
        checkpoints.save(tree(step), replace(START, step=step))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def damages():
    """Ways to spoil a file."""
    yield "missing", lambda path: path.unlink()
    yield "truncated", lambda path: path.write_bytes(path.read_bytes()[:-1])
    yield "empty", lambda path: path.write_bytes(b"")
    yield "first bit", lambda path: flip(path, 0)
    yield "middle bit", lambda path: flip(path, path.stat().st_size // 2, bit=3)
    yield "last bit", lambda path: flip(path, -1, bit=1)


def test_newest_is_restored_and_only_the_newest_are_kept(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, 2)
    assert restored(folder) is None
    assert checkpoints.newest() is None
    for step in range(5):
        path = checkpoints.save(tree(step), replace(START, step=step))
        assert checkpoints.newest() == path
        assert restored(folder) == step
    assert sorted(path.name for path in folder.iterdir()) == [
        "000003", "000003.json", "000004", "000004.json"
    ]  # fmt: skip


def test_the_newest_of_a_place_is_not_one_beyond_it(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", 5)
    places = [(0, 1), (0, 2), (1, 0)]
    saved = [
        checkpoints.save(
            tree(step), replace(START, step=step, phase=phase, epoch=epoch, dispatch=0)
        )
        for step, (phase, epoch) in enumerate(places)
    ]
    found = [checkpoints.newest_until((*place, 0, True)) for place in ((0, 0), *places, (2, 0))]
    assert found == [None, *saved, saved[-1]]


def test_what_goes_while_it_is_looked_for_is_passed_over(saved, monkeypatch):
    """Another process of a sweep drops old checkpoints meanwhile."""
    read, (old, new) = checkpointing.position_of, sorted(saved.glob("*.json"))

    def position_of(folder):
        if folder.name == old.stem:
            raise FileNotFoundError(old)
        return read(folder)

    monkeypatch.setattr(checkpointing, "position_of", position_of)
    assert Checkpoints(saved, 2).newest().name == new.stem


def test_every_damage_to_every_file_falls_back(saved, tmp_path, caplog):
    """Each file of the newest checkpoint, spoilt in each way."""
    newest = saved / "000001"
    tried = 0
    for path in files(newest):
        for name, damage in damages():
            if name != "missing" and not path.stat().st_size:
                continue
            case = tmp_path / f"{tried}"
            shutil.copytree(saved, case)
            damage(case / path.relative_to(saved))
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                assert restored(case) == 10, (path, name)
            assert "000001" in caplog.text
            assert path.name in caplog.text
            assert sorted(entry.name for entry in case.iterdir()) == ["000000", "000000.json"]
            shutil.rmtree(case)
            tried += 1
    assert tried > 20


@pytest.mark.parametrize(("name", "damage"), list(damages()))
def test_damaged_manifest_falls_back(folder, caplog, name, damage):
    damage(folder / "000001.json")
    assert restored(folder) == 10
    assert "000001" in caplog.text


def test_every_digit_of_the_manifest_is_held(folder):
    """A position that is wrong by a digit would go on elsewhere, and look sound."""
    path = folder / "000001.json"
    text = path.read_text()
    for index, character in enumerate(text):
        if character.isdigit():
            path.write_text(text[:index] + str((int(character) + 1) % 10) + text[index + 1 :])
            shutil.copytree(folder, folder.with_name("copy"))
            assert restored(folder.with_name("copy")) == 10, text[index - 20 : index + 1]
            shutil.rmtree(folder.with_name("copy"))
            if index > text.index('"files"'):
                break  # the position, and one digest for all


def test_folder_missing(folder, caplog):
    shutil.rmtree(folder / "000001")
    assert restored(folder) == 10
    assert "lacks the file" in caplog.text


def test_all_damaged_is_an_error_that_deletes_nothing(folder):
    for manifest in folder.glob("*.json"):
        flip(manifest, 0)
    before = listing(folder)
    for _ in range(2):  # and stays one: the same command must not begin again in silence
        with pytest.raises(UserError, match="every checkpoint is damaged"):
            Checkpoints(folder, 2).restore(lambda position: shapes())
        assert listing(folder) == before


def test_damaged_and_unfinished_is_an_error_too(folder):
    flip(folder / "000000.json", 5)
    (folder / "000001.json").unlink()
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        Checkpoints(folder, 2).restore(lambda position: shapes())


def test_first_save_unfinished_starts_again(folder, caplog):
    for manifest in folder.glob("*.json"):
        manifest.unlink()
    (folder / "000002.orbax-checkpoint-tmp-1").mkdir()
    assert restored(folder) is None
    assert list(folder.iterdir()) == []
    assert "was not finished" in caplog.text


def test_a_kill_at_any_byte_of_a_save_loses_nothing_before_it(saved, tmp_path):
    """Every file that the newest save wrote, cut at its start, middle and end, none after it."""
    written = [saved / "000001.json", *files(saved / "000001")]
    written.sort(key=lambda path: (path.suffix == ".json", path.stat().st_mtime_ns))
    tried = 0
    for count, cut in enumerate(written):
        content = cut.read_bytes()
        for size in sorted({0, len(content) // 2, max(0, len(content) - 1)}):
            case = shutil.copytree(saved, tmp_path / f"{tried}")
            for path in written[count + 1 :]:
                (case / path.relative_to(saved)).unlink()
            # A manifest gets its name when it is whole
            name = cut.name if cut.suffix != ".json" else ".000001.json.abcdefgh"
            (case / cut.relative_to(saved)).unlink()
            (case / cut.relative_to(saved)).with_name(name).write_bytes(content[:size])
            if tried % 2:  # orbax, too, renames its folder when it is whole
                (case / "000001").rename(case / "000001.orbax-checkpoint-tmp")
            assert restored(case) == 10
            if tried % 4 < 2:
                Checkpoints(case, 2).save(tree(20), replace(START, step=20))
                assert restored(case) == 20
            shutil.rmtree(case)
            tried += 1
    assert tried > 20


def test_remains_of_a_kill_while_old_ones_were_dropped_are_swept(folder):
    Checkpoints(folder, 9).save(tree(30), replace(START, step=30))
    (folder / "000000.json").unlink()
    assert restored(folder) == 30
    assert {path.name.split(".")[0] for path in folder.iterdir()} == {"000001", "000002"}


def test_saving_goes_on_after_a_fall_back(folder):
    (folder / "000001.json").write_text("{}")
    assert restored(folder) == 10
    checkpoints = Checkpoints(folder, 2)
    checkpoints.save(tree(20), replace(START, step=20))
    checkpoints.save(tree(30), replace(START, step=30))
    assert restored(folder) == 30
    shutil.rmtree(checkpoints.newest())
    assert restored(folder) == 20


def test_extra_files_do_no_harm(folder):
    (folder / ".DS_Store").write_text("")
    (folder / "notes.txt").write_text("")
    (folder / "000001" / ".nfs0001").write_text("")
    assert restored(folder) == 20
    assert (folder / "notes.txt").exists()


def test_manifest_is_json_one_can_read(folder):
    content = json.loads((folder / "000001.json").read_text())
    assert content["position"]["step"] == 20
    assert len(content["files"]) == len(files(folder / "000001"))


def test_manifest_from_before_evaluated_was_a_field(folder):
    path = folder / "000001.json"
    content = json.loads(path.read_text())
    del content["digest"], content["position"]["evaluated"]
    digest = hashlib.blake2b(json.dumps(content).encode()).hexdigest()
    path.write_text(json.dumps({**content, "digest": digest}))
    assert restored(folder) == 20


def test_another_runs_checkpoint(saved, tmp_path):
    """Taken over at a position of its own; what follows is numbered after it."""
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.step() == 0
    position = replace(START, step=20, phase=0, evaluated=True)
    for _ in range(2):  # a kill may come before it is known to be done
        checkpoints.adopt(saved / "000001", position)
    found, at = Checkpoints(folder, 2).restore(lambda where: shapes() if where == position else {})
    assert at == position
    np.testing.assert_array_equal(found["kernel"], tree(20)["kernel"])
    assert checkpoints.step() == 20
    checkpoints.save(tree(30), replace(START, step=30))
    checkpoints.save(tree(40), replace(START, step=40))
    assert restored(folder) == 40
    assert restored(saved) == 20  # and the other run has its own
    (folder / "000002.json").write_text("{}")
    assert checkpoints.step() == 30  # where the run would go on
    (folder / "000001.json").write_text("{}")
    assert checkpoints.step() == 0


def test_links_fall_back_to_copies(tmp_path, monkeypatch):
    """Where the file system has no hard links, or the two lie on different ones."""
    (tmp_path / "one").write_text("content")

    def refuse(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(checkpointing.os, "link", refuse)
    checkpointing.link(str(tmp_path / "one"), str(tmp_path / "two"))
    assert (tmp_path / "two").read_text() == "content"
