"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from alignreg_jax.errors import writing


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
    """The process's mask for new files; the system call can only read it by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
