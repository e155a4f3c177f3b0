"""Process-wide settings of JAX, made before the first array."""

import ctypes
import logging
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax

from alignreg_jax.support import processes
from alignreg_jax.support.caches import default_cache_dir

log = logging.getLogger(__name__)

_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
_MANY = 1 / 3  # of the maps; one run may need as many again
_MALLOC = (  # mallopt's numbers of glibc's parameters, what is set, and the variable that precedes
    (-3, 4 * 2**20, "MALLOC_MMAP_THRESHOLD_"),
    (-8, 2, "MALLOC_ARENA_MAX"),
)


def prepare(distributed: str = "off") -> None:
    """Keep compiled programs between runs, beside the tokenised data; join other processes.

    Raises:
        UserError: `distributed`, a mode of processes.connect, is none or does not work here.
    """
    give_back_memory()
    processes.connect(distributed)
    folder = default_cache_dir()
    trouble = "there is no home folder" if folder is None else _unusable(folder)
    if folder is None or trouble:
        log.info(
            "no cache, so that programs are compiled and texts tokenised again: %s; the environment"
            " variable ALIGNREG_CACHE says where else",
            trouble,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    _drop_damaged_programs(folder / "xla")


def give_back_memory() -> None:
    """Have glibc return large blocks to the system when they are freed, and keep few heaps.

    Left alone it keeps them, up to 32 MiB each, for a next time that has another size, and a heap
    for every thread: a fifth of what a run of the demo holds at its peak. The environment's own
    settings stand.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is None or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    for number, value, variable in _MALLOC:
        if variable not in os.environ:
            mallopt(number, value)


def make_room_for_programs() -> None:
    """Forget compiled programs if they hold much of what this process may map.

    On a CPU a program's code takes hundreds of memory maps for as long as it may be called again.
    Linux gives a process 65,530 of them (vm.max_map_count), and a compiler that gets no more takes
    the process down. What is needed again comes back from the cache on disk.
    """
    try:
        with _MAPS.open("rb") as maps:
            used = sum(1 for _ in maps)
        most = int(_MOST_MAPS.read_text())
    except OSError:  # no Linux
        return
    if used >= _MANY * most:
        jax.clear_caches()


def _drop_damaged_programs(folder: Path) -> None:
    """Remove compiled programs that turn out damaged, for JAX never writes over one.

    A kill or a full disk while one is written leaves half of it; JAX warns, and compiles instead.
    """
    shown = warnings.showwarning

    def show(message: Warning | str, *where: Any, **more: Any) -> None:
        found = re.match(r"Error reading persistent compilation cache .* '(.+?)'", str(message))
        if found is None:
            shown(message, *where, **more)
            return
        for program in folder.glob(f"{found[1]}-*"):
            program.unlink(missing_ok=True)
        log.info("%s: a damaged program (%s) is removed and compiled again", folder, found[1])

    warnings.showwarning = show


def _unusable(folder: Path) -> str | None:
    """Why a cache cannot be kept in a folder, which is made if need be; or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
