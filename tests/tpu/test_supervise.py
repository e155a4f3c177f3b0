"""The supervisor starts the program again when that helps, saves the run, and ends with it."""

import fcntl
import signal

import pytest

BUCKET = "gs://mine/run"


class Supervisor:
    """Runs in a folder of its own, with the program's stand-in."""

    def __init__(self, desk, cloud):
        self.desk, self.job = desk, desk.folder / "job"
        self.copy = cloud.buckets / "mine" / "run"

    def arguments(self, *options, bucket=None):
        kept = ("--bucket", bucket) if bucket else ("--workdir", self.job / "workdir")
        return ("supervise.sh", self.job, *kept, "--", self.desk.program, *options)

    def run(self, *options, bucket=None):
        return self.desk.run(*self.arguments(*options, bucket=bucket))

    def state(self):
        path = self.job / "state"
        return path.read_text().strip() if path.exists() else None

    def steps(self):
        return len((self.job / "workdir" / "metrics.jsonl").read_text().splitlines())


@pytest.fixture
def supervisor(desk, cloud):
    return Supervisor(desk, cloud)


def test_a_program_that_crashes_is_started_again_and_goes_on(supervisor):
    found = supervisor.run("--fails", "4:1,4:137,6:139")
    assert found.returncode == 0
    assert len(supervisor.desk.starts()) == 4
    assert supervisor.steps() == 8
    assert supervisor.state() == "ended 0"


@pytest.mark.parametrize("code", [2, 3])
def test_a_mistake_and_a_diverged_loss_are_not_tried_again(supervisor, code):
    found = supervisor.run("--fails", f"4:{code}")
    assert found.returncode == code
    assert len(supervisor.desk.starts()) == 1
    assert supervisor.state() == f"ended {code}"


@pytest.mark.parametrize("name", [".lock", "s1/.lock"])
def test_an_error_while_another_process_has_the_workdir_is_tried_again(supervisor, name):
    lock = supervisor.job / "workdir" / name
    lock.parent.mkdir(parents=True)
    (supervisor.job / "workdir" / "config.json").write_text("{}")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert supervisor.run("--fails", "0:2").returncode == 0
    assert len(supervisor.desk.starts()) == 2


def test_it_gives_up_only_without_a_new_checkpoint(supervisor):
    supervisor.desk.environment["ALIGNREG_MAX_RESTARTS"] = "2"
    # The first and the third start make a checkpoint, the second, fourth and fifth do not
    found = supervisor.run("--fails", "3:1,3:1,5:1,5:1,5:1,5:1")
    assert found.returncode == 1
    assert len(supervisor.desk.starts()) == 5
    assert "giving up after 2 restarts" in found.stdout
    assert supervisor.state() == "ended 1"


def test_sigterm_reaches_the_program_and_the_run_is_saved_once_more(supervisor, desk):
    desk.environment["ALIGNREG_SAVE_SECONDS"] = "600"
    process = desk.start(*supervisor.arguments("--halts", "3", bucket=BUCKET))
    desk.wait_for(lambda: (supervisor.job / "workdir/checkpoints/000000.json").exists())
    desk.wait_for(lambda: supervisor.steps() == 3)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the program ended with 143" in said
    assert supervisor.state() is None  # it has not ended: the next machine goes on
    assert not (supervisor.copy / "state").exists()
    assert (supervisor.copy / "workdir/checkpoints/000000.json").exists()
    assert len((supervisor.copy / "workdir/metrics.jsonl").read_text().splitlines()) == 3


def test_another_machine_continues_from_the_bucket(supervisor, desk):
    cache = desk.folder / "home" / ".cache" / "alignreg_jax" / "xla"
    cache.mkdir(parents=True)
    (cache / "program").write_text("compiled")
    desk.environment["ALIGNREG_MAX_RESTARTS"] = "0"
    assert supervisor.run("--fails", "5:1", bucket=BUCKET).returncode == 1
    assert (supervisor.copy / "state").read_text() == "ended 1\n"
    supervisor.job = desk.folder / "elsewhere"
    (cache / "program").unlink()
    assert supervisor.run(bucket=BUCKET).returncode == 0
    assert supervisor.steps() == 8
    assert (cache / "program").read_text() == "compiled"
    assert (supervisor.copy / "state").read_text() == "ended 0\n"
    assert (supervisor.copy / "workdir" / "results.json").exists()


@pytest.mark.parametrize("name", ["config.json", "sweep.json", "s0/config.json"])
def test_what_is_here_is_newer_than_the_bucket(supervisor, desk, cloud, name):
    here = supervisor.job / "workdir" / name
    for path in (here, supervisor.copy / "workdir" / name):
        path.parent.mkdir(parents=True)
        path.write_text("here" if path == here else "in the bucket")
    desk.run("supervise.sh", supervisor.job, "--bucket", BUCKET, "--", "true")
    assert here.read_text() == "here"
    assert "ls" not in [call[2] for _, call in cloud.calls]


def test_a_bucket_that_cannot_be_read_is_not_taken_for_an_empty_one(supervisor, cloud):
    cloud.refused = {"ls"}
    found = supervisor.run(bucket=BUCKET)
    assert found.returncode == 1
    assert f"cannot read {BUCKET}" in found.stdout
    assert supervisor.desk.starts() == []


def test_half_a_download_is_not_taken_for_the_run(supervisor, desk, cloud):
    supervisor.run("--fails", "5:2", bucket=BUCKET)
    supervisor.job = desk.folder / "elsewhere"
    (supervisor.job / "restored").mkdir(parents=True)
    for name in ("config.json", "deleted since"):
        (supervisor.job / "restored" / name).write_text("half")
    assert supervisor.run(bucket=BUCKET).returncode == 0
    assert (supervisor.job / "workdir" / "config.json").read_text() == "{}"
    assert not (supervisor.job / "workdir" / "deleted since").exists()


def test_a_run_that_cannot_be_saved_has_not_ended(supervisor, cloud):
    cloud.refused = {"rsync"}
    found = supervisor.run(bucket=BUCKET)
    assert found.returncode == 1
    assert "could not save (5 of 5)" in found.stdout
    assert supervisor.state() is None
    assert not (supervisor.copy / "state").exists()


@pytest.mark.parametrize(
    "arguments", [("--colour", "red", "--", "true"), ("--bucket", "gs://mine/run", "true", "x")]
)
def test_a_mistake_is_one_line_and_exit_code_2(desk, arguments):
    found = desk.run("supervise.sh", desk.folder / "job", *arguments)
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
