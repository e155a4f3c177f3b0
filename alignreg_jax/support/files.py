"""Files and folders that appear whole or not at all."""

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alignreg_jax.errors import UserError, writing


def atomic_write(path: str | Path, content: bytes | str) -> None:
    r"""Write a file so that a reader, or a kill at any moment, sees the old file or the new one.

    Text is UTF-8. A path whose bytes are not has surrogates in Python; they become "\udce9" and
    the like, which JSON reads back as they were.

    Raises:
        UserError: there is no room for it, or it may not be written.
    """
    path = Path(path)
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with writing(path, len(data)):
        _write(path, data)


@contextmanager
def whole_folder(folder: Path, size: int = 0, *, new: bool = False) -> Iterator[Path]:
    """Give an empty folder to write to, which takes the place of `folder` at the end.

    A kill leaves no half of it. A folder that is already there is replaced, and stays if writing
    fails.

    Args:
        folder: where the files will be.
        size: their bytes, for the message of a full disk.
        new: never replace one, not even one that has come while this one was written.

    Raises:
        UserError: there is no room for it, it may not be written, or is there and should be new.
    """
    with writing(folder, size):
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{folder.name[:50]}.partial."  # room for more in a name of 255 bytes
        for leftover in folder.parent.glob(f"{glob.escape(prefix)}*"):
            if _nobodys(leftover):  # of a process that was killed here
                shutil.rmtree(leftover, ignore_errors=True)
        # Of this process alone: another may be writing the same folder
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
        partial.chmod(0o777 & ~_umask())  # mkdtemp's 0700 would hide results from a group
        with _locked(partial):
            try:
                yield partial
                for file in partial.rglob("*"):
                    _sync(file)
                if new and os.path.lexists(folder):
                    raise UserError(f"{folder}: has come meanwhile, and stays; give another one")
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)  # a full disk has room again
                raise
            retired = Path(f"{partial}.retired")
            if folder.exists() and not new:
                folder.rename(retired)
            partial.rename(folder)
            _sync(folder.parent)
            shutil.rmtree(retired, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that other processes see that it is in use; a kill lets go of it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _nobodys(folder: Path) -> bool:
    """Whether no process holds a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would hide results from a group
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's mask for new files.

    The system call can only read it by setting it, and other threads make files meanwhile.
    """
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0)
    os.umask(mask)
    return mask
