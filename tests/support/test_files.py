"""Folders that appear whole or not at all, also where two processes write the same one."""

import os
import stat
import subprocess
import sys

import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.support.files import atomic_write, whole_folder

KILLED = """
import os, sys
from pathlib import Path
from alignreg_jax.support.files import whole_folder
with whole_folder(Path(sys.argv[1])) as partial:
    (partial / "half").write_text("x")
    os.kill(os.getpid(), 9)
"""


def test_two_writers_of_one_folder_do_not_meet(tmp_path):
    out = tmp_path / "out"
    with whole_folder(out) as first:
        (first / "a").write_text("first")
        with whole_folder(out) as second:
            assert first != second
            (second / "b").write_text("second")
        assert [path.name for path in out.iterdir()] == ["b"]
        assert (first / "a").read_text() == "first"
    assert [path.name for path in out.iterdir()] == ["a"]  # whole: the one that ended last
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_kill_left_goes_with_the_next_writing(tmp_path):
    out = tmp_path / "out [1]"  # no pattern
    command = [sys.executable, "-c", KILLED, str(out)]
    assert subprocess.run(command, check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    assert (left / "half").exists()
    with whole_folder(out) as partial:
        assert not left.exists()
        (partial / "all").write_text("x")
    assert list(tmp_path.iterdir()) == [out]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    out = tmp_path / "deep" / "out"
    with whole_folder(out) as partial:
        (partial / "a").write_text("1")
    with pytest.raises(FileNotFoundError), whole_folder(out) as partial:
        (partial / "not there" / "a").write_text("2")
    assert (out / "a").read_text() == "1"
    assert list(out.parent.iterdir()) == [out]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o777 & ~mask


def test_a_folder_that_comes_meanwhile_stays(tmp_path):
    out = tmp_path / "out"

    def work():
        with whole_folder(out, new=True) as partial:
            (partial / "a").write_text("mine")
            out.mkdir()
            (out / "b").write_text("another's")

    with pytest.raises(UserError, match="out: has come meanwhile, and stays"):
        work()
    assert (out / "b").read_text() == "another's"
    assert list(tmp_path.iterdir()) == [out]


def test_a_name_as_long_as_a_file_system_takes(tmp_path):
    out = tmp_path / ("鯨" * 85)  # 255 bytes
    for text in "ab":
        with whole_folder(out) as partial:
            (partial / "text").write_text(text)
    assert (out / "text").read_text() == "b"
    assert list(tmp_path.iterdir()) == [out]


def test_the_mask_of_new_files_is_read_without_changing_it(tmp_path, monkeypatch):
    """Another thread may make a file at that moment, which all could then write to."""

    def refused(mask):
        raise AssertionError("the mask is changed")

    before = os.umask(0o027)
    with monkeypatch.context() as patch:
        patch.setattr(os, "umask", refused)
        atomic_write(tmp_path / "file", "text")
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
