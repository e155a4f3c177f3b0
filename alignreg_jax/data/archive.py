"""A few files out of a .tar.gz, unpacked once into the cache.

One pass over the archive: hashed, unzipped and unpacked as it is read. Only the contents of wanted
files are taken, under names that are known beforehand; an archive with links, devices or names that
lead elsewhere is refused, because it is not what it seems. The folder gets its name when everything
is in it, so that a kill leaves none that is half full.
"""

import gzip
import hashlib
import io
import json
import os
import posixpath
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.support.progress import progress

BYTES_PER_READ = 2**20
FACTS = "archive.json"


@dataclass(frozen=True)
class Known:
    """Size in bytes and SHA-256 of the archive as it was published."""

    size: int
    sha256: str


def extract(
    path: Path, wanted: Collection[str], name: str, cache_dir: Path | None, known: Known
) -> tuple[Path, tuple[str, ...]]:
    """Return a folder of the cache with the wanted members of an archive, and notes for the log.

    Args:
        path: the archive.
        wanted: members, with "/" and without "./"; those that it lacks are no error.
        name: of the folder, beside a digest of path, size and time of the archive.
        cache_dir: where it is unpacked; None: there is no place.
        known: what the archive should be; a note says if it is not.

    Raises:
        UserError: the archive cannot be read to its end, a member would land outside of the
            folder or is no file, or the cache cannot be written.
    """
    if cache_dir is None:
        raise UserError(
            f"{path}: cannot be unpacked, there is no home folder; the environment variable "
            "ALIGNREG_CACHE says where else"
        )
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    state = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()
    shared = cache_dir / "archives" / f"{hashlib.sha256(state).hexdigest()[:16]}-{name}"
    # Where another user has left what we can neither read nor replace, a folder of our own
    own = shared.with_name(f"{shared.name}-{os.getuid()}")
    there = ((folder, digest) for folder in (shared, own) if (digest := _digest(folder)))
    folder, digest = next(there, None) or _unpack(path, set(wanted), (shared, own))
    notes = (f"{shared} cannot be used, so {folder} is",) if folder == own else ()
    if Known(stat.st_size, digest) == known:
        return folder, notes
    note = (
        f"{path} is not the archive that was published: {stat.st_size} bytes with SHA-256 {digest},"
        f" and not {known.size} with {known.sha256}"
    )
    return folder, (*notes, note)


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


def _unpack(path: Path, wanted: set[str], folders: Sequence[Path]) -> tuple[Path, str]:
    """Unpack into the first folder that can be; returns it, and the archive's digest."""
    place = folders[0].parent
    temporary = place / f"{secrets.token_hex(6)}.tmp"
    try:
        place.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()  # unlike tempfile's, with the rights that the umask leaves
    except OSError as error:
        raise _unwritable(place, error) from error
    try:
        digest = _extract(path, wanted, temporary)
        there = [name for name in sorted(wanted) if (temporary / name).is_file()]
        sizes = {name: (temporary / name).stat().st_size for name in there}
        facts = {"archive": str(path), "sha256": digest, "members": sizes}
        (temporary / FACTS).write_text(json.dumps(facts))
        return _publish(temporary, folders), digest
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not readable as .tar.gz ({error})") from error
    except OSError as error:
        if error.filename == str(path):
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        raise _unwritable(place, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folders: Sequence[Path]) -> Path:
    """Give a folder its name, and return it.

    If another process was first, and may be reading, theirs stays; if what another user has left
    cannot be removed, the next name is taken.
    """
    for folder in folders:
        if folder.exists() and _digest(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            return temporary.rename(folder)
        except OSError:
            if _digest(folder) is not None:
                return folder
            if folder == folders[-1]:
                raise
    raise AssertionError(folders)


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
                    name = _checked(member, path)
                    if member.isfile() and name in wanted:
                        _copy(members.extractfile(member), target / name)
            while unzipped.read(BYTES_PER_READ):  # to the check sum at the end
                pass
        return hashed.hexdigest()


def _checked(member: tarfile.TarInfo, path: Path) -> str:
    """The name of a member below the folder; UserError for what no honest archive of data has.

    A check of our own: tarfile's came with Python 3.11.4.
    """
    name = posixpath.normpath(member.name.lstrip("/"))
    if name == ".." or name.startswith("../"):
        why = "it would land outside of the folder"
    elif "\0" in name:
        why = "its name has a NUL"
    elif not (member.isfile() or member.isdir()):
        why = "it is a link or device, not a file"
    else:
        return name
    raise UserError(f"{path}: refused, because of its member {member.name!r} ({why})")


def _copy(source: Any, target: Path) -> None:
    """Write a member's content into a new file; like its folder it has the umask's rights."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(source or io.BytesIO(), file, BYTES_PER_READ)


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
