"""From nothing to fetched results in one command, through preemptions."""

import json

import pytest

from alignreg_jax.training import checkpointing

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
        assert checkpointing.problem(manifest.with_suffix("")) is None


def test_a_job_calls_what_its_dry_run_shows(desk, cloud):
    options = (*BUCKET, "--prepare", "echo prepared", *PROGRAM, "--steps", "1")
    shown = desk.shown("job", "demo", *options)
    assert desk.calls() == []
    assert desk.tpu("job", "demo", *options).returncode == 0
    called = [call for call in desk.calls() if "tpu-vm list" not in " ".join(call)]
    assert shown == list({tuple(call): call for call in called}.values())


@pytest.mark.parametrize("code", [2, 3])
def test_a_job_ends_with_the_programs_code_fetches_and_deletes(desk, cloud, code):
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM, "--fails", f"3:{code}")
    assert job.returncode == code
    assert len(desk.starts()) == 1
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


def test_a_job_gives_up_when_creating_fails_again_and_again(desk, cloud):
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


def test_what_an_earlier_job_has_left_is_not_taken_for_this_ones_end(desk, cloud):
    left = cloud.buckets / "mine" / "runs" / "demo"
    left.mkdir(parents=True)
    (left / "state").write_text("ended 2\n")
    job = desk.tpu("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 0
    assert len(desk.starts()) == 1


def test_a_vm_that_rebooted_is_started_again(desk, cloud):
    options = (*BUCKET, *PROGRAM, "--halts", "3")
    for command in ("create", "status", "setup", "run"):
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
