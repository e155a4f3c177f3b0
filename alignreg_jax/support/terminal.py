"""Standard output and error as they are found: of any encoding, closed, full, or no longer read."""

import os
import sys
from typing import TextIO

from alignreg_jax.errors import UserError


def tolerate() -> None:
    """Print what the terminal's encoding lacks as "?": a table is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def show(text: str) -> None:
    """Print to standard output at once; nothing more if whoever reads has had enough (`| head`).

    Raises:
        UserError: it cannot be written, as to a full disk.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise UserError(f"standard output cannot be written: {error.strerror}") from error


def silence() -> None:
    """Drop what is printed from now on, and what is still to be flushed."""
    for stream in (sys.stdout, sys.stderr):
        _silence(stream)


def _silence(stream: TextIO | None) -> None:
    try:
        descriptor = stream.fileno()  # pyright: ignore[reportOptionalMemberAccess]
    except (AttributeError, OSError, ValueError):  # closed, or a test's
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
