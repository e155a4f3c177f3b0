"""What is the user's to fix: a single line, exit code 2, no traceback."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CONTINUES = "the same command continues"
"""How it goes on after what a run or sweep has stopped with."""
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


class UserError(Exception):
    """Bad input; one line that names the field, the file and line, or the way out."""


class UserErrors(UserError):
    """Several mistakes, so that a user need not find them one after the other.

    Attributes:
        lines: one for each.
    """

    def __init__(self, lines: Sequence[str]):
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class Mistakes:
    """Collects them, and raises them together: one as it is, several as `UserErrors`."""

    def __init__(self, found: Sequence[UserError] = ()) -> None:
        """`found` are there already."""
        self._found: list[UserError] = [*found]

    def add(self, error: UserError) -> None:
        """Note a mistake."""
        self._found.append(error)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Work after which others are to be looked for, whatever is wrong in it."""
        try:
            yield
        except UserError as error:
            self.add(error)

    def check(self) -> None:
        """Raise what was noted."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            lines = (line for error in self._found for line in lines_of(error))
            raise UserErrors(list(dict.fromkeys(lines)))

    def fail(self) -> NoReturn:
        """The same where nothing can go on without what was not got."""
        self.check()
        raise AssertionError("nothing was got, and no mistake noted")


def lines_of(error: Exception) -> tuple[str, ...]:
    """The lines that say what is wrong."""
    return error.lines if isinstance(error, UserErrors) else (" ".join(str(error).split("\n")),)


class NonFiniteLoss(Exception):
    """A loss, gradient or logit is not finite; exit code 3, nothing saved after it."""


@contextmanager
def writing(place: str | Path, size: int = 0) -> Iterator[None]:
    """What writes files, `size` bytes of them, at `place`, a folder or a file.

    Raises:
        UserError: the disk is full, or may not be written; it says where, and how much is needed.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if line := storage_trouble(error, place, size):
            raise UserError(line) from error
        raise


def storage_trouble(error: Exception, place: str | Path, size: int = 0) -> str | None:
    """The line for a user whose disk is full or may not be written; None: it is something else."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None:  # orbax, safetensors and shutil.copytree only repeat the system's words
        text = str(error)
        code = next((code for code in _FULL + _FORBIDDEN if os.strerror(code) in text), None)
    if code in _FULL:
        needed = f", which needs {_bytes(size)}" if size else ""
        return (
            f"{place}: {os.strerror(code)} to write this{needed}; make room there, and {CONTINUES}"
        )
    if code in _FORBIDDEN:
        return f"{place}: cannot be written ({os.strerror(code)}); allow that, and {CONTINUES}"
    return None


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.1f} MB"
