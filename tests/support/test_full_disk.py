"""A disk that fills up, whatever is being written: one line, exit code 2, and the run goes on.

The system lets this process write files up to a size, so that the writes themselves fail, also
those of orbax and safetensors.
"""

import errno
import os
import resource
import shutil
from contextlib import contextmanager

import exports
import pytest
import tiny

from alignreg_jax.errors import UserError, storage_trouble, writing
from alignreg_jax.main import main
from alignreg_jax.reporting.tracking import Tracker
from alignreg_jax.support import flags
from alignreg_jax.support.files import atomic_write
from alignreg_jax.training.manifests import problem

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
source = exports.source  # a fixture


@contextmanager
def largest_file(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# JAX warns where a program does not fit into its cache, and the run goes on
@pytest.mark.filterwarnings("default:Error .* persistent compilation cache")
def test_a_run_that_finds_no_room_says_where_and_goes_on_when_there_is(world, tmp_path, capsys):
    """First for config.json, then for a checkpoint."""
    workdir = tmp_path / "run"
    command = tiny.command(world, workdir, "--config.method=none", "--config.export=False")
    for size, path in ((1000, "config.json"), (100_000, "checkpoints")):
        with largest_file(size):
            assert main(command) == 2
        output = capsys.readouterr()
        *_, line = output.err.splitlines()
        assert line.startswith(
            f"error: {workdir / path}: File too large to write this, which needs"
        )
        assert line.endswith(" MB; make room there, and the same command continues")
        assert "Traceback" not in output.err + output.out
        assert not list(workdir.glob("checkpoints/*"))
    assert main(command) == 0
    manifests = sorted(workdir.glob("checkpoints/*.json"))
    assert [problem(manifest.with_suffix("")) for manifest in manifests] == [None, None]


@pytest.mark.filterwarnings("default:Error .* persistent compilation cache")
def test_an_export_without_room_leaves_the_one_before(tmp_path, source):
    out = tmp_path / "export"
    exports.write(out, source)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with (
        largest_file(1500),
        pytest.raises(UserError, match=f"^{out}: File too large .* 0.1 MB; make"),
    ):
        exports.write(out, source, seed=1)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"source", "export"}


def test_a_file_without_room_leaves_the_one_before(tmp_path):
    path = tmp_path / "results.csv"
    atomic_write(path, "before")
    with largest_file(1000), pytest.raises(UserError, match=rf"^{path}: .* needs 2\.5 MB; make"):
        atomic_write(path, "x" * 2_500_000)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_events_without_room_are_cut_back_as_after_a_kill(tmp_path):
    with Tracker(tmp_path) as tracker:
        tracker.log("train", step=1, phase=0, remaining=1.0)
        whole = tracker.path.read_bytes()
        with largest_file(len(whole) + 10), pytest.raises(UserError, match=r"metrics\.jsonl: "):
            tracker.log("train", step=2, phase=0, remaining=1.0)
        assert tracker.position == 1
    with Tracker(tmp_path) as tracker:
        assert tracker.position == 1
        tracker.log("train", step=2, phase=0, remaining=1.0)
    assert [event["step"] for event in tiny.events(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "No space left on device to write this; make room there"),
        (OSError(errno.EDQUOT, "x"), "Disk quota exceeded to write this; make room there"),
        (OSError(errno.EROFS, "x"), "cannot be written (Read-only file system); allow that"),
        (PermissionError(errno.EACCES, "x"), "cannot be written (Permission denied); allow that"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device")]), "No space left on devi"),
        (ValueError("RESOURCE_EXHAUSTED: Failed: No space left on device [28]"), "No space left o"),
    ],
)
def test_what_the_system_says_and_libraries_repeat(error, words, capsys):
    with pytest.raises(UserError, match=r"^/the/disk: ") as caught, writing("/the/disk"):
        raise error
    assert words in str(caught.value)
    assert str(caught.value).endswith("and the same command continues")


def test_what_is_no_trouble_of_the_disk_stays_a_defect(capsys):
    for error in (ValueError("shapes differ"), FileNotFoundError(errno.ENOENT, "no", "x")):
        assert storage_trouble(error, "/the/disk") is None
        with pytest.raises(type(error)), writing("/the/disk"):
            raise error


def test_a_writer_that_says_nothing_is_told_at_the_end(capsys):
    def work(arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/the/disk/file")

    assert flags.execute([], str, work) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: /the/disk/file: No space left on device to write this; make room there, and the"
        " same command continues"
    ]
