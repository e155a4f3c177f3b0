"""A few files out of a .tar.gz, unpacked once into the cache.

One pass over the archive: hashed, unzipped and unpacked as it is read. It is refused if a member
would land elsewhere, or one that is wanted is a link. The folder gets its name when everything is
in it, so that a kill leaves none that is half full.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.progress import progress

BYTES_PER_READ = 2**20
FACTS = "archive.json"


@dataclass(frozen=True)
class Known:
    """Size in bytes and SHA-256 of the archive as it was published."""

    size: int
    sha256: str


def extract(
    path: Path, wanted: Collection[str], name: str, cache_dir: Path, known: Known
) -> tuple[Path, tuple[str, ...]]:
    """Return a folder of the cache with the wanted members of an archive, and notes for the log.

    Args:
        path: the archive.
        wanted: members, with "/" and without "./"; those that it lacks are no error.
        name: of the folder, beside a digest of path, size and time of the archive.
        cache_dir: where it is unpacked.
        known: what the archive should be; a note says if it is not.

    Raises:
        UserError: the archive cannot be read to its end, a member would land outside of the
            folder or is a link, or the cache cannot be written.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    state = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()
    folder = cache_dir / "archives" / f"{hashlib.sha256(state).hexdigest()[:16]}-{name}"
    digest = _digest(folder)
    if digest is None:
        digest = _unpack(path, set(wanted), folder)
    if Known(stat.st_size, digest) == known:
        return folder, ()
    note = (
        f"{path} is not the archive that was published: {stat.st_size} bytes with SHA-256 {digest},"
        f" and not {known.size} with {known.sha256}"
    )
    return folder, (note,)


def _digest(folder: Path) -> str | None:
    """The archive's digest that is beside what was unpacked; None: nothing sound is there.

    A folder is sound while every file is there that was unpacked into it, and as long as it was.
    """
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        for name, size in facts["members"].items():
            if (folder / name).stat().st_size != size:
                return None
        return str(facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _unpack(path: Path, wanted: set[str], folder: Path) -> str:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, suffix=".tmp"))
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        digest = _extract(path, wanted, temporary)
        there = [name for name in sorted(wanted) if (temporary / name).is_file()]
        sizes = {name: (temporary / name).stat().st_size for name in there}
        facts = {"archive": str(path), "sha256": digest, "members": sizes}
        (temporary / FACTS).write_text(json.dumps(facts))
        _publish(temporary, folder)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not readable as .tar.gz ({error})") from error
    except OSError as error:
        if error.filename == str(path):
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        raise _unwritable(folder.parent, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def _publish(temporary: Path, folder: Path) -> None:
    """Give a folder its name; if another process was first, and may be reading, theirs stays."""
    if folder.exists() and _digest(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError:
        if _digest(folder) is None:
            raise


def _extract(path: Path, wanted: set[str], target: Path) -> str:
    """Unpack into an existing folder; returns the archive's SHA-256."""
    with (
        path.open("rb") as file,
        progress(path.stat().st_size, f"unpacking {path.name}", "bytes", delay=2.0) as bar,
    ):
        hashed = _Hashed(file, bar.update)
        with gzip.GzipFile(fileobj=io.BufferedReader(hashed, BYTES_PER_READ)) as unzipped:
            with tarfile.open(fileobj=unzipped, mode="r|") as members:
                for member in members:
                    _check(member, wanted, target, path)
                    if os.path.normpath(member.name) in wanted:
                        members.extract(member, target, filter="data")
            while unzipped.read(BYTES_PER_READ):  # to the check sum at the end
                pass
        return hashed.hexdigest()


def _check(member: tarfile.TarInfo, wanted: set[str], target: Path, path: Path) -> None:
    """Refuse what would land outside, wanted or not: such an archive is not what it seems."""
    try:
        tarfile.data_filter(member, str(target))
    except (tarfile.FilterError, ValueError) as error:  # ValueError: a NUL in the path
        raise UserError(
            f"{path}: refused, because of its member {member.name!r} ({error})"
        ) from error
    if os.path.normpath(member.name) in wanted and not member.isfile():
        raise UserError(f"{path}: refused, its member {member.name!r} is a link, not a file")


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder}: cannot be unpacked to ({error.strerror or error}); "
        "the environment variable ALIGNREG_CACHE says where else"
    )


class _Hashed(io.RawIOBase):
    """A file that digests what is read from it, and reports how much that was."""

    def __init__(self, file: io.BufferedReader, report: Callable[[int], object]):
        self._file, self._report, self._sha256 = file, report, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        count = self._file.readinto(buffer)
        self._sha256.update(buffer[:count])
        self._report(count)
        return count

    def hexdigest(self) -> str:
        """The digest of the whole file, once it has been read to its end."""
        for rest in iter(lambda: self._file.read(BYTES_PER_READ), b""):
            self._sha256.update(rest)
        return self._sha256.hexdigest()
