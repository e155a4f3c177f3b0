"""Without a home, or with one that cannot be written, a run goes on without a cache and says so."""

import inspect
import logging
import os
import subprocess
import sys
import warnings
import zlib

import jax
import pytest
import tiny
from huggingface_hub import constants
from jax._src import compilation_cache
from jax._src.compiler import _cache_read  # whose words are read

from alignreg_jax.data.archive import Known, extract
from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.models import checkpoints
from alignreg_jax.support import runtime
from alignreg_jax.support.caches import default_cache_dir

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def settings(monkeypatch):
    """What is set in JAX meanwhile, and not for the tests after this one."""
    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    return found


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home: HOME is not set, and no passwd entry is there."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("ALIGNREG_CACHE", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)


def test_without_a_home(homeless, settings, caplog):
    assert default_cache_dir() is None
    with caplog.at_level(logging.INFO):
        runtime.prepare()
    assert settings == {}
    assert "there is no home folder" in caplog.text
    assert "ALIGNREG_CACHE" in caplog.text


def test_a_home_that_cannot_be_written(monkeypatch, settings, caplog):
    monkeypatch.delenv("ALIGNREG_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/proc")
    with caplog.at_level(logging.INFO):
        runtime.prepare()
    assert settings == {}
    assert "/proc/.cache/alignreg_jax cannot be written" in caplog.text


def test_a_cache_that_can_be_written(monkeypatch, settings, caplog, tmp_path):
    monkeypatch.setenv("ALIGNREG_CACHE", str(tmp_path / "deep" / "cache"))
    with caplog.at_level(logging.INFO):
        runtime.prepare()
    assert settings["jax_compilation_cache_dir"] == str(tmp_path / "deep" / "cache" / "xla")
    assert caplog.text == ""


@pytest.mark.filterwarnings("default")
def test_a_program_that_a_kill_left_half_written_is_removed(
    monkeypatch, settings, caplog, tmp_path
):
    """JAX would compile it in every run and never write it again."""
    told = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: told.append(message))
    monkeypatch.setenv("ALIGNREG_CACHE", str(tmp_path))
    runtime.prepare()
    (tmp_path / "xla").mkdir()
    for name in ("jit_train-1-cache", "jit_predict-2-cache"):
        (tmp_path / "xla" / name).write_bytes(b"half")
    with caplog.at_level(logging.INFO), monkeypatch.context() as patch:
        patch.setattr(compilation_cache, "get_executable_and_time", broken)
        others = len(inspect.signature(_cache_read).parameters) - 2  # more in newer versions
        assert _cache_read("jit_train", "jit_train-1", *[None] * others) == (None, None)
        warnings.warn("something else", stacklevel=1)
    assert [path.name for path in (tmp_path / "xla").iterdir()] == ["jit_predict-2-cache"]
    assert "a damaged program (jit_train) is removed" in caplog.text
    assert list(map(str, told)) == ["something else"]


def test_memory_maps_are_counted_where_there_is_linux(tmp_path, monkeypatch):
    """By a stand-in of /proc, with as many maps as a third of what is allowed, or one less."""
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    maps, most = tmp_path / "maps", tmp_path / "most"
    monkeypatch.setattr(runtime, "_MAPS", maps)
    monkeypatch.setattr(runtime, "_MOST_MAPS", most)
    runtime.make_room_for_programs()  # nothing is there
    most.write_text("60\n")
    maps.write_text("55d0-55d1 r-xp program\n" * 19)
    runtime.make_room_for_programs()
    assert not cleared
    maps.write_text("55d0-55d1 r-xp program\n" * 20)
    runtime.make_room_for_programs()
    assert cleared == [True]


def broken(*arguments):
    raise zlib.error("incomplete or truncated stream")


def test_all_input_is_read_without_a_home(homeless, settings, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(tiny.command(world, tmp_path / "run", "--check")) == 0
    assert "40 training rows" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [], "no folder that is called ~"


def test_an_archive_needs_a_place(homeless, tmp_path):
    with pytest.raises(UserError, match="no home folder; the environment variable ALIGNREG_CACHE"):
        extract(tmp_path / "xglue.tar.gz", (), "ner", default_cache_dir(), Known(0, ""))


def test_the_hub_needs_a_place(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "~/.cache/huggingface/hub")
    with pytest.raises(UserError, match=r"^model\.name_or_path=a/b: .* no home folder .*HF_HOME"):
        checkpoints.resolve("a/b")


_FREED = """
import ctypes
from alignreg_jax.support import runtime

def resident():
    return int(open("/proc/self/statm").read().split()[1])

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if {prepared}:
    runtime.prepare()
libc.free(libc.malloc(30 << 20))  # from now on glibc, by itself, keeps what is smaller
block = libc.malloc(16 << 20)
libc.malloc(1 << 20)  # lies behind it in the heap, which could shrink otherwise
ctypes.memset(block, 1, 16 << 20)
before = resident()
libc.free(block)
print(before - resident() > 1024)  # pages
"""


@pytest.mark.parametrize(
    ("prepared", "own", "returned"), [(True, {}, True), (False, {}, False),
                                      (True, {"MALLOC_MMAP_THRESHOLD_": str(32 << 20)}, False)],
)  # fmt: skip
def test_large_blocks_go_back_to_the_system(tmp_path, prepared, own, returned):
    """What is set in the environment stands."""
    environment = {**os.environ, "ALIGNREG_CACHE": str(tmp_path), **own}
    found = subprocess.run(
        [sys.executable, "-c", _FREED.format(prepared=prepared)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert found.stdout.split() == [str(returned)]
