"""Files out of an archive: which, from where, and what is refused."""

import gzip
import hashlib
import io
import itertools
import os
import tarfile

import pytest
import xglue_tree
from xglue_tree import TOP

from alignreg_jax.data import archive, xglue
from alignreg_jax.data.archive import Known, extract
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError

WANTED = {f"{TOP}/NER/en.train", f"{TOP}/NER/de.test", f"{TOP}/NER/absent"}


@pytest.fixture
def packed(tmp_path):
    return xglue_tree.pack(tmp_path / "xglue.tar.gz")


@pytest.fixture
def unpack(tmp_path):
    def unpack(path, wanted=WANTED):
        known = Known(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        return extract(path, wanted, "NER", tmp_path / "cache", known)

    return unpack


def below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_only_what_is_wanted_is_unpacked(packed, unpack):
    folder, notes = unpack(packed)
    assert below(folder) == {f"{TOP}/NER/en.train", f"{TOP}/NER/de.test", archive.FACTS}
    assert (folder / TOP / "NER" / "de.test").read_bytes() == xglue_tree.FILES["NER"]["de.test"]
    assert notes == ()
    assert folder.parent.parent.name == "cache"


def without_filters(monkeypatch):
    """Python before 3.11.4, as Debian 12 has it."""
    for name in ("data_filter", "tar_filter", "fully_trusted_filter", "FilterError"):
        monkeypatch.delattr(tarfile, name)
    extract = tarfile.TarFile.extract

    def old(self, member, path="", set_attrs=True, *, numeric_owner=False):
        return extract(self, member, path, set_attrs, numeric_owner=numeric_owner)

    monkeypatch.setattr(tarfile.TarFile, "extract", old)


def test_python_before_3_11_4_unpacks_the_same(packed, unpack, monkeypatch):
    without_filters(monkeypatch)
    folder, notes = unpack(packed)
    assert below(folder) == {f"{TOP}/NER/en.train", f"{TOP}/NER/de.test", archive.FACTS}
    assert (folder / TOP / "NER" / "de.test").read_bytes() == xglue_tree.FILES["NER"]["de.test"]
    assert notes == ()


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_umask_says_who_may_read_the_cache(tmp_path, unpack, umask):
    member, content = evil(f"{TOP}/NER/xx.test", content=b"a O\n")
    member.mode = 0o600  # whatever the archive says
    path = xglue_tree.pack(tmp_path / "modes.tar.gz", "NER", also=((member, content),))
    before = os.umask(umask)
    try:
        folder, _ = unpack(path, {*WANTED, member.name})
    finally:
        os.umask(before)
    assert (folder / member.name).read_bytes() == content
    for found in (folder, *folder.rglob("*")):
        assert found.stat().st_mode & 0o777 == (0o777 if found.is_dir() else 0o666) & ~umask


def test_a_folder_of_another_user_that_cannot_be_used_is_passed_by(packed, unpack, monkeypatch):
    shared, _ = unpack(packed)
    (shared / archive.FACTS).unlink()
    remove = archive.shutil.rmtree

    def not_ours(folder, **options):
        if folder != shared:
            remove(folder, **options)

    monkeypatch.setattr(archive.shutil, "rmtree", not_ours)
    for _ in range(2):
        folder, (note,) = unpack(packed)
        assert folder.name == f"{shared.name}-{os.getuid()}"
        assert (folder / TOP / "NER" / "de.test").is_file()
        assert note == f"{shared} cannot be used, so {folder} is"
        monkeypatch.setattr(archive, "_unpack", None)  # once is enough
    monkeypatch.undo()


def test_it_is_unpacked_once(packed, unpack, monkeypatch):
    folder, _ = unpack(packed)
    monkeypatch.setattr(archive, "_unpack", None)
    assert unpack(packed)[0] == folder
    monkeypatch.undo()
    os.utime(packed, ns=(1, 1))  # another file, as far as one can tell without reading it
    assert unpack(packed)[0] != folder


def test_another_size_or_digest_is_told_every_time(packed, tmp_path):
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    for _ in range(2):
        _, (note,) = extract(packed, WANTED, "NER", tmp_path / "cache", xglue.KNOWN)
        assert digest in note
        assert str(packed.stat().st_size) in note
        assert "875905871" in note
        assert "e11016c02d8565d00119833a16679bbbe0fec437f5ad53c2d3f9eef6fa03f65b" in note


def test_names_may_begin_with_a_dot(tmp_path, unpack):
    path = xglue_tree.pack(tmp_path / "dots.tar.gz", "NER", top=f"./{TOP}/")
    assert (unpack(path)[0] / TOP / "NER" / "en.train").is_file()


def evil(name, kind=tarfile.REGTYPE, target="", content=b"evil"):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    member.size = len(content) if kind == tarfile.REGTYPE else 0
    return member, content


@pytest.mark.parametrize(
    "member",
    [
        evil("../escaped"),
        evil(f"{TOP}/NER/../../../escaped"),
        evil(f"{TOP}/../../NER/en.train"),
        evil(f"{TOP}/NER/en.train", tarfile.SYMTYPE, "/etc/passwd"),
        evil(f"{TOP}/NER/en.train", tarfile.SYMTYPE, "../../../escaped"),
        evil(f"{TOP}/NER/en.train", tarfile.SYMTYPE, "labels.txt"),
        evil(f"{TOP}/NER/en.train", tarfile.LNKTYPE, "../../escaped"),
        evil(f"{TOP}/NER/en.train", tarfile.LNKTYPE, f"{TOP}/NER/labels.txt"),
        evil(f"{TOP}/NER/en.train", tarfile.FIFOTYPE),
        evil(f"{TOP}/NER", tarfile.SYMTYPE, "/etc"),
        evil("unwanted", tarfile.SYMTYPE, "plain"),
        evil("unwanted", tarfile.CHRTYPE),
        evil("/../escaped"),
    ],
)
@pytest.mark.parametrize("old_python", [False, True])
def test_what_would_land_elsewhere_is_refused(tmp_path, unpack, member, old_python, monkeypatch):
    if old_python:
        without_filters(monkeypatch)
    path = xglue_tree.pack(tmp_path / "evil.tar.gz", "NER", also=(member,))
    before = below(tmp_path)
    with pytest.raises(UserError, match=r"evil\.tar\.gz: refused") as caught:
        unpack(path)
    assert member[0].name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert below(tmp_path) == before  # nothing in the cache, nothing beside it


def test_a_path_with_a_nul_is_refused(tmp_path, unpack):
    member, content = evil("plain")
    member.pax_headers = {"path": f"{TOP}/NER/nul\0"}  # before the name, which could not have it
    path = xglue_tree.pack(tmp_path / "nul.tar.gz", "NER", also=((member, content),))
    with pytest.raises(UserError, match=r"nul\.tar\.gz: refused, .*NER/nul\\x00"):
        unpack(path)
    assert below(tmp_path) == {"nul.tar.gz"}


def test_an_absolute_path_stays_in_the_folder(tmp_path, unpack):
    path = xglue_tree.pack(tmp_path / "root.tar.gz", "NER", also=(evil("/escaped"),))
    assert "escaped" not in " ".join(below(unpack(path)[0]))


@pytest.mark.parametrize("cut", ["half", "end", "text", "empty", "sum", "tar"])
def test_damage_leaves_nothing_behind(packed, unpack, tmp_path, cut):
    content = packed.read_bytes()
    damaged = {
        "half": content[: len(content) // 2],
        "end": content[:-4],
        "text": b"<html>accept the terms</html>",
        "empty": b"",
        "sum": content[:-8] + bytes(4) + content[-4:],
        "tar": gzip.compress(b"not a tar" * 200),
    }[cut]
    packed.write_bytes(damaged)
    with pytest.raises(UserError, match=r"xglue\.tar\.gz: not readable as \.tar\.gz") as caught:
        unpack(packed)
    assert "\n" not in str(caught.value)
    assert below(tmp_path) == {"xglue.tar.gz"}


def test_a_kill_leaves_no_folder_that_is_half_full(packed, unpack, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive.json, "dumps", killed)  # the last thing before the folder's name
        with pytest.raises(KeyboardInterrupt):
            unpack(packed)
    assert below(tmp_path) == {"xglue.tar.gz"}
    half = unpack(packed)[0]
    (half / archive.FACTS).unlink()  # as if it had been made by hand
    (half / TOP / "NER" / "de.test").unlink()
    assert (unpack(packed)[0] / TOP / "NER" / "de.test").is_file()


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"cut")]
)
def test_a_folder_that_has_lost_something_is_unpacked_again(packed, unpack, damage):
    path = unpack(packed)[0] / TOP / "NER" / "de.test"
    damage(path)
    assert unpack(packed)[0] in path.parents
    assert path.read_bytes() == xglue_tree.FILES["NER"]["de.test"]


def test_a_folder_that_another_process_has_finished_stays(packed, unpack, monkeypatch):
    """Whoever was first may be reading in it."""
    extracted, others = archive._extract, []

    def slow(*arguments):
        done = extracted(*arguments)
        if not others:
            others.append(None)  # the other one is not slow
            others.append(unpack(packed)[0].stat().st_ino)
        return done

    monkeypatch.setattr(archive, "_extract", slow)
    folder, _ = unpack(packed)
    assert folder.stat().st_ino == others[1]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_cache_that_cannot_be_written(packed, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be unpacked to.*ALIGNREG_CACHE"):
        extract(packed, WANTED, "NER", tmp_path / "cache", xglue.KNOWN)
    with pytest.raises(UserError, match=r"absent: cannot be read"):
        extract(tmp_path / "absent", WANTED, "NER", tmp_path, xglue.KNOWN)


def test_progress_shows_when_it_takes_long(packed, unpack, monkeypatch, capsys):
    unpack(packed)
    assert capsys.readouterr().err == ""
    clock = itertools.count(0.0, 20.0)
    monkeypatch.setattr("alignreg_jax.support.progress.time.monotonic", lambda: next(clock))
    os.utime(packed, ns=(1, 1))
    unpack(packed)
    assert "unpacking xglue.tar.gz: 100%" in capsys.readouterr().err


# Through `load`


@pytest.fixture
def load_ner(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNREG_CACHE", str(tmp_path / "cache"))
    return lambda path: load(get_task("ner"), source="folder", data_dir=str(path), languages=None)


def test_an_archive_is_as_good_as_its_folder(packed, tmp_path, load_ner):
    folder = load_ner(xglue_tree.write(tmp_path / "tree"))
    data = load_ner(packed)
    assert data.train.text_a == folder.train.text_a
    for split in ("dev", "test"):
        for language in ("en", "de", "es", "nl"):
            ours, theirs = getattr(data, split)[language], getattr(folder, split)[language]
            assert ours.text_a == theirs.text_a
            assert ours.labels.tolist() == theirs.labels.tolist()
    assert "is not the archive that was published" in data.notes[0]
    assert xglue_tree.notes(folder) == ()


def test_the_archive_may_have_no_top_folder(tmp_path, load_ner):
    assert load_ner(xglue_tree.pack(tmp_path / "flat.tar.gz", "NER", top="")).train.rows == 2


def test_a_task_that_is_not_in_the_archive(tmp_path, load_ner):
    path = xglue_tree.pack(tmp_path / "some.tar.gz", "NC", "POS")
    with pytest.raises(UserError, match=r"some\.tar\.gz: has no .*/NER for ner") as caught:
        load_ner(path)
    assert xglue.TERMS in str(caught.value)
    assert "hgissbkh/xglue" in str(caught.value)
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as file:
        file.addfile(tarfile.TarInfo("README"), io.BytesIO())
    with pytest.raises(UserError, match="for ner"):
        load_ner(other)
