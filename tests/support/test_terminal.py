"""What a program prints to a terminal that cannot show it, is closed, full, or no longer read."""

import io
import os
import subprocess
import sys

import pytest
import tiny

from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.reporting.results import Facts, summary
from alignreg_jax.run import launch
from alignreg_jax.support import terminal
from alignreg_jax.sweep import main as sweep

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def results():
    """Of a run that evaluated a language in the middle no more: its tables have dashes."""
    events = [
        {
            **{"kind": "eval", "step": 10, "phase": phase, "remaining": 0.9**phase},
            **{"nonzero": 0.8, "remaining_total": 0.9},
            "scores": {"test": {name: {"accuracy": 0.5} for name in languages}},
            "examples": {"test": dict.fromkeys(languages, 40)},
        }
        for phase, languages in enumerate((["de", "en"], ["en"]))
    ]
    facts = Facts("folder", "l2-mbp", 0, "accuracy", 0.25, ("de", "en"))
    return summary(events, facts, wall_seconds=1.5)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_a_table_is_shown_in_any_encoding(world, tmp_path, monkeypatch, encoding):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(launch, "run", lambda *given: [results()])
    assert main(tiny.command(world, tmp_path / "run")) == 0
    text = written.getvalue().decode(encoding)
    assert "report.html" in text
    assert ("–" in text) == (encoding == "utf-8")
    assert ("?" in text) == (encoding != "utf-8")


def test_a_name_that_is_not_text(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8"))
    terminal.tolerate()
    terminal.show("r\udce9sum\udce9")
    assert written.getvalue() == b"r?sum?\n"


def test_nobody_reads_on(monkeypatch):
    """`--help | head -1`: what is left is dropped, in silence."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["--help"]) == 0
        assert sweep(["--version"]) == 0


def test_show_says_why_it_cannot(monkeypatch):
    def full(text, flush):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(terminal, "print", full, raising=False)
    with pytest.raises(UserError, match="standard output cannot be written: No space left"):
        terminal.show("text")
    assert main(["--version"]) == 2


def test_there_is_no_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--version"]) == 0


def test_nobody_reads_standard_error(monkeypatch):
    def work(arguments):
        raise BrokenPipeError

    from alignreg_jax.support import flags

    monkeypatch.setattr(terminal, "silence", lambda: None)  # the test's own streams
    assert flags.execute([], str, work) == 141


@pytest.mark.slow
def test_the_real_program_in_a_bare_environment():
    """Neither an encoding nor a reader; Python's own flush at the end finds nothing to say."""
    command = f"{sys.executable} -m alignreg_jax.main --help | head -1"
    environment = {**tiny.environment(), "LC_ALL": "C", "PYTHONUTF8": "0"}
    environment |= {"PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tiny.ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m alignreg_jax.main")
