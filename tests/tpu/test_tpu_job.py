"""From nothing to fetched results in one command, through preemptions."""

import json

import pytest

from alignreg_jax.training import manifests

BUCKET = ("--bucket", "gs://mine/runs")
PROGRAM = ("--", "--config", "configs/demo.py", "--note", "it's a test")


def test_a_job_with_two_preemptions_does_every_step_once_and_fetches_results(desk, cloud):
    cloud.preempt = [2, 6]
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM, "--steps", "9", "--halts", "3,7")
    assert job.returncode == 0, job.stderr
    assert job.stderr.count("preempted") == 2
    assert cloud.created == ["demo"] * 3
    assert not list(cloud.tpus.iterdir())
    assert desk.starts() == ["it's a test"] * 3
    fetched = desk.folder / "runs" / "demo"
    events = [json.loads(line) for line in (fetched / "metrics.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events] == list(range(9))
    assert json.loads((fetched / "results.json").read_text()) == {"finished": True}
    assert (fetched / "export" / "config.json").exists()
    assert not (fetched / "checkpoints").exists()
    kept = cloud.buckets / "mine" / "runs" / "demo"
    assert (kept / "state").read_text() == "ended 0\n"
    for manifest in (kept / "workdir" / "checkpoints").glob("*.json"):
        assert manifests.problem(manifest.with_suffix("")) is None


def test_a_name_that_is_taken_keeps_its_state(desk, cloud):
    cloud.has("demo")
    kept = cloud.buckets / "mine" / "runs" / "demo"
    kept.mkdir(parents=True)
    (kept / "state").write_text("ended 0\n")
    cloud.refused = {"create"}
    assert desk.tpu("create", "demo", "--zone=z", *BUCKET).returncode
    assert (kept / "state").read_text() == "ended 0\n"


def test_a_job_calls_what_its_dry_run_shows(desk, cloud):
    options = (*BUCKET, "--prepare", "echo prepared", *PROGRAM, "--steps", "1")
    shown = desk.shown("job", "demo", *options)
    assert desk.calls() == []
    assert desk.tpu("job", "demo", *options).returncode == 0
    called = [call for call in desk.calls() if "tpu-vm list" not in " ".join(call)]
    assert shown == list({tuple(call): call for call in called}.values())


@pytest.fixture
def ended(cloud):
    """A TPU whose program has ended, and the bucket's folder; there is nothing to fetch yet."""
    cloud.has("demo")
    kept = cloud.buckets / "mine" / "runs" / "demo"
    for folder in (kept, cloud.tpus / "demo" / "worker-0" / "alignreg" / "current"):
        folder.mkdir(parents=True)
        (folder / "state").write_text("ended 0\n")
    return kept


def test_a_job_ends_with_the_programs_code_fetches_and_deletes(desk, cloud, ended):
    (ended / "state").write_text("ended 3\n")
    (ended / "workdir").mkdir()
    (ended / "workdir" / "metrics.jsonl").write_text("{}\n")
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 3
    assert not list(cloud.tpus.iterdir())
    assert (desk.folder / "runs" / "demo" / "metrics.jsonl").exists()


@pytest.mark.parametrize("lost", [("SUSPENDED", "READY"), ("ACTIVE", "PREEMPTED")])
def test_a_job_gives_up_after_the_preemptions_it_was_given(desk, cloud, lost):
    """Also where only the queued resource or only its node tells of them."""
    cloud.preempt, cloud.lost = [2, 2], lost
    options = (*BUCKET, "--max-preemptions", "1", *PROGRAM, "--halts", "3,3")
    job = desk.tpu("job", "demo", *options)
    assert job.returncode == 1
    assert "giving up after 1 preemptions" in job.stderr
    assert cloud.created == ["demo"] * 2
    assert not list(cloud.tpus.iterdir())


def test_a_job_gives_up_when_a_tpu_is_refused_again_and_again(desk, cloud):
    cloud.preempt, cloud.lost = [-1] * 9, ("FAILED", "PREEMPTED")
    cloud.first_state = "LOST"
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert job.stderr.count("the reason") == 5
    assert "giving up after 5 failures in a row" in job.stderr
    assert not list(cloud.tpus.iterdir())


def test_a_job_waits_while_the_network_is_down(desk, cloud):
    states = iter(range(99))

    def fail_for_a_while():
        cloud.refused = {"list"} if 3 < next(states) < 15 else set()

    cloud.meanwhile = fail_for_a_while
    assert desk.tpu("job", "demo", *BUCKET, *PROGRAM).returncode == 0


@pytest.fixture
def left(cloud):
    """What an earlier job of that name has left in the bucket; it is not this one's end."""
    kept = cloud.buckets / "mine" / "runs" / "demo"
    kept.mkdir(parents=True)
    (kept / "state").write_text("ended 2\n")


def test_a_job_stops_looking_when_gcloud_never_answers_again(desk, cloud):
    desk.environment["ALIGNREG_POLL_SECONDS"] = "0"
    cloud.meanwhile = lambda: cloud.calls and cloud.refused.add("list")
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert len(cloud.calls) == 61
    assert "gcloud has failed 60 times in a row; gcloud auth login" in job.stderr
    assert "the same command follows it, tpu.sh delete ends it" in job.stderr


def test_a_job_gives_up_when_creating_fails_again_and_again(desk, cloud, left):
    cloud.refused = {"create"}
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert job.stderr.count("(create) refused") == 5
    assert "giving up" in job.stderr


def test_a_job_gives_up_on_a_supervisor_that_never_gets_going(desk, cloud):
    cloud.refused = {"ls"}
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert "giving up after 5 starts" in job.stderr
    assert cloud.state("demo") == "ACTIVE"  # what the VM has may be nowhere else


def test_a_second_call_follows_the_job_that_is_there(desk, cloud):
    options = (*BUCKET, *PROGRAM)
    for command in ("create", "status", "setup", "run"):
        assert desk.tpu(command, "demo", *options).returncode == 0
    job = desk.tpu("job", "demo", *options)
    assert job.returncode == 0
    assert cloud.created == ["demo"]
    assert len(desk.starts()) == 1
    assert (desk.folder / "runs" / "demo" / "results.json").exists()


def test_results_that_the_tpu_alone_reaches_are_fetched_before_it_is_deleted(desk, cloud, ended):
    folder = desk.folder / "shared"
    job = desk.tpu("job", "demo", "--folder", folder, *PROGRAM)
    assert job.returncode == 1
    assert "tpu.sh fetch tries again" in job.stderr
    assert "demo is kept for that, and costs; tpu.sh delete ends it" in job.stderr
    assert cloud.state("demo") == "ACTIVE"
    folder.mkdir()
    (folder / "results.json").write_text("{}")
    assert desk.tpu("job", "demo", "--folder", folder, *PROGRAM).returncode == 0
    assert (desk.folder / "runs" / "demo" / "results.json").exists()
    assert cloud.state("demo") is None


def test_results_that_stay_in_the_bucket_are_no_success(desk, cloud, ended):
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert "tpu.sh fetch tries again" in job.stderr
    assert cloud.state("demo") is None


def test_a_tpu_that_is_left_is_no_success(desk, cloud, ended):
    cloud.refused = {"delete"}
    (ended / "workdir").mkdir()
    (ended / "workdir" / "results.json").write_text("{}")
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert "could not delete the TPU, which costs" in job.stderr


def test_a_mistake_that_leaves_nothing_in_the_folder_ends_the_job(desk, cloud):
    desk.command("program", "exit 2")
    job = desk.tpu("job", "demo", "--folder", desk.folder / "shared", *PROGRAM)
    assert job.returncode == 2
    assert not list(cloud.tpus.iterdir())


def test_a_job_that_was_stopped_while_it_waited_for_the_tpu_is_called_again(desk, cloud, left):
    desk.tpu("create", "demo", *BUCKET)
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 0
    assert len(desk.starts()) == 1


def test_a_vm_that_rebooted_is_started_again(desk, cloud):
    options = (*BUCKET, *PROGRAM, "--halts", "3")
    cloud.has("demo")
    for command in ("setup", "run"):
        desk.tpu(command, "demo", *options)
    desk.wait_for(lambda: (cloud.buckets / "mine/runs/demo/workdir/checkpoints").exists())
    home = cloud.tpus / "demo" / "worker-0"
    cloud.kill(home)
    assert desk.tpu("job", "demo", *options).returncode == 0
    assert cloud.created == ["demo"]
    assert len(desk.starts()) == 2


def test_several_machines_work_in_one_folder_and_the_results_are_fetched(desk, cloud, tmp_path):
    cloud.workers = 2
    shared = tmp_path / "shared drive"
    options = ("--type", "v6e-16", "--folder", shared, *PROGRAM, "--steps", "1")
    job = desk.tpu("job", "demo", *options)
    assert job.returncode == 0, job.stderr
    assert len(desk.starts()) == 2
    assert (desk.folder / "runs" / "demo" / "results.json").exists()
    assert not (desk.folder / "runs" / "demo" / "results.tar.gz").exists()
