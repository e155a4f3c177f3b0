r"""Lines of a text file, one after the other, with their numbers.

A line ends at "\n" and nowhere else: texts from the web hold U+2028, U+0085 and lone carriage
returns, at which `str.splitlines` would cut a row in two. Files named `.gz` are unzipped.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from alignreg_jax.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BYTES_PER_UPDATE = 2**20

Progress = Callable[[int], object]
"""Told the number of bytes read since the last call."""


def silent(count: int) -> None:
    """Show no progress."""


def numbered(path: Path, progress: Progress = silent) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end); a byte order mark is dropped.

    Carriage returns at the end of a line belong to the end. Memory holds one line at a time.

    Raises:
        UserError: with file:line for a line that is not UTF-8, or where a zipped file is damaged or
            cut; a file that cannot be read.
    """
    unreported = number = 0
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                unreported += len(raw)
                if unreported >= BYTES_PER_UPDATE:
                    progress(unreported)
                    unreported = 0
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(f"{path}:{number}: not UTF-8") from error
                yield number, line.rstrip("\r\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}:{number + 1}: not readable as .gz ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    progress(unreported)


def rows(path: Path, progress: Progress = silent, white: str = "") -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that has a row on every line; blank ones at its end are no rows.

    A blank line before the end is an error: it is damage more often than intent, and skipping it
    would shift the rows against the file's lines.

    Args:
        path: the file.
        progress: told the bytes.
        white: characters that a blank line may hold.

    Raises:
        UserError: with file:line for such a line, for a file without rows; as `numbered`.
    """
    blank, any_row = 0, False
    for number, line in numbered(path, progress):
        if not line.strip(white + "\r"):
            blank = blank or number
        elif blank:
            raise UserError(f"{path}:{blank}: a blank line between rows")
        else:
            any_row = True
            yield number, line
    if not any_row:
        raise UserError(f"{path}:1: the file has no rows")
