"""Scripts under tools/ without a process of their own: pandas and SciPy take long to import."""

import contextlib
import io
import runpy
import sys
from typing import NamedTuple

import pytest


class Ended(NamedTuple):
    """As subprocess.run gives it."""

    returncode: int
    stdout: str
    stderr: str


def run(tool, *arguments):
    """Its exit code, and what it printed."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [tool.name, *map(str, arguments)])
        patch.setattr(sys, "path", [str(tool.parent), *sys.path])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(str(tool), run_name="__main__")
            except SystemExit as end:
                code = end.code or 0
                if isinstance(code, str):  # which Python prints, and ends with 1
                    print(code, file=err)
                    code = 1
    return Ended(code, out.getvalue(), err.getvalue())
