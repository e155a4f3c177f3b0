"""The same through Compute Engine: a group whose machines start, and start again, by themselves."""

import json

import pytest
from fake_groups import RUNNING

BUCKET = ("--bucket", "gs://mine/runs")
PROGRAM = ("--", "--config", "configs/demo.py", "--note", "it's a test")


@pytest.fixture
def kept(cloud):
    """The bucket's folder of the run."""
    return cloud.buckets / "mine" / "runs" / "demo"


def nothing_is_left(cloud):
    """Of all that was created."""
    groups = cloud.groups
    return not (groups.groups or groups.templates or groups.policies)


def steps(folder):
    """Of the run in a folder."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_create_asks_for_a_spot_machine_that_starts_by_itself(desk, cloud):
    shown = desk.shown("create", "demo", "--way=group", *BUCKET, *PROGRAM)
    template, code, orders, state, group = (" ".join(call) for call in shown)
    assert template.startswith(
        "gcloud compute instance-templates create demo --machine-type=ct6e-standard-1t"
        " --provisioning-model=SPOT --instance-termination-action=STOP"
        " --maintenance-policy=TERMINATE --image-project=ubuntu-os-accelerator-images"
        " --image-family=ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e --boot-disk-size=200GB"
        " --scopes=cloud-platform --metadata=alignreg=gs://mine/runs/demo"
        " --metadata-from-file=startup-script="
    )
    assert template.endswith("/tpu/vm/boot.sh --quiet")
    assert [call.split()[-1] for call in (code, orders, state)] == [
        f"gs://mine/runs/demo/{name}" for name in ("code.tar.gz", "run.sh", "state")
    ]
    assert group == (
        "gcloud compute instance-groups managed create demo --template=demo --size=1"
        " --zone=z --quiet"
    )
    assert cloud.created == []


def test_create_takes_every_choice_from_flags_or_the_environment(desk):
    desk.environment |= {"ALIGNREG_WAY": "group", "ALIGNREG_PROJECT": "p", "ALIGNREG_IMAGE": "i"}
    calls = desk.shown("create", "demo", "--type=tpu7x-8", "--on-demand", *BUCKET, *PROGRAM)
    template, group = " ".join(calls[0]), " ".join(calls[-1])
    assert "--machine-type=tpu7x-standard-4t --provisioning-model=STANDARD --maint" in template
    assert "--image-family=i" in template
    assert template.endswith("--project=p --quiet")
    assert group.endswith("--project=p --quiet")


@pytest.mark.parametrize(
    ("kind", "machine", "size", "topology"),
    [
        ("v6e-8", "ct6e-standard-8t", 1, None),
        ("v6e-32", "ct6e-standard-4t", 8, "4x8"),
        ("v5p-16", "ct5p-hightpu-4t", 2, "2x2x2"),
        ("tpu7x-32", "tpu7x-standard-4t", 4, "2x2x4"),
    ],
)
def test_a_type_says_how_many_machines_of_which_kind(desk, kind, machine, size, topology):
    options = ("--way=group", "--type", kind, "--project=p", "--folder=/mnt/x")
    desk.environment["ALIGNREG_ZONE"] = "us-east5-b"
    desk.environment["ALIGNREG_BUCKET"] = "gs://mine"
    shown = desk.run("tpu.sh", "create", "demo", "--dry-run", *options, *PROGRAM).stdout
    assert f"--machine-type={machine} " in shown
    assert f"--size={size} " in shown
    assert (f"--accelerator-topology={topology} --region=us-east5 " in shown) == bool(topology)
    assert ("--workload-policy=projects/p/regions/us-east5/resource" in shown) == bool(topology)


def test_a_group_continues_a_run_with_nobody_watching(desk, cloud, kept):
    """The machine is taken away twice and made anew, and finds the run in the bucket."""
    cloud.preempt = [2, 6]
    assert desk.group("create", "demo", *BUCKET, *PROGRAM, "--halts", "3,7").returncode == 0
    calls = len(desk.calls())

    def ended():
        with cloud._lock:
            cloud.groups.look("demo")
        return (kept / "state").read_text() == "ended 0\n"

    desk.wait_for(ended)
    assert len(desk.calls()) == calls
    assert cloud.created == ["demo"]
    assert cloud.groups.losses == 2
    assert desk.starts() == ["it's a test"] * 3
    assert steps(kept / "workdir") == list(range(8))


@pytest.mark.parametrize("repair", [True, False])
def test_a_job_with_two_preemptions_does_every_step_once_and_fetches_results(desk, cloud, repair):
    """Also where the group does not make its machine anew: then it is deleted and created again."""
    cloud.preempt, cloud.groups.repair = [2, 6], repair
    job = desk.group("job", "demo", *BUCKET, *PROGRAM, "--steps", "9", "--halts", "3,7")
    assert job.returncode == 0, job.stderr
    assert job.stderr.count("preempted") == (0 if repair else 2)
    assert cloud.created == ["demo"] * (1 if repair else 3)
    assert nothing_is_left(cloud)
    fetched = desk.folder / "runs" / "demo"
    assert steps(fetched) == list(range(9))
    assert not (fetched / "checkpoints").exists()


def test_a_job_calls_what_its_dry_run_shows(desk, cloud):
    options = (*BUCKET, "--prepare", "echo prepared", *PROGRAM, "--steps", "1")
    shown = desk.shown("job", "demo", "--way=group", *options)
    assert desk.calls() == []
    assert desk.group("job", "demo", *options).returncode == 0
    assert {tuple(call) for call in desk.calls()} == {tuple(call) for call in shown}


def test_prepare_runs_before_everything_else_and_quotes_survive(desk, cloud, kept):
    prepare = "echo 'a b' > prepared; test -d alignreg/code"
    job = desk.group("job", "demo", *BUCKET, "--prepare", prepare, *PROGRAM)
    assert job.returncode == 0, job.stderr
    (machine,) = cloud.groups.folder.iterdir()
    assert (machine / "prepared").read_text() == "a b\n"
    assert desk.starts() == ["it's a test"]


def test_a_job_ends_with_the_programs_code(desk, cloud):
    job = desk.group("job", "demo", *BUCKET, *PROGRAM, "--fails", "4:3")
    assert job.returncode == 3
    assert nothing_is_left(cloud)
    assert steps(desk.folder / "runs" / "demo") == list(range(4))


def test_an_end_that_an_earlier_job_left_does_not_count(desk, cloud, kept):
    kept.mkdir(parents=True)
    (kept / "state").write_text("ended 2\n")
    assert desk.group("job", "demo", *BUCKET, *PROGRAM).returncode == 0


def test_a_second_call_follows_the_group_that_is_there(desk, cloud):
    assert desk.group("create", "demo", *BUCKET, *PROGRAM).returncode == 0
    job = desk.group("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 0
    assert cloud.created == ["demo"]
    assert len(desk.starts()) == 1


def test_a_job_waits_for_machines_and_status_says_why(desk, cloud):
    cloud.groups.capacity = False
    process = desk.start("tpu.sh", "job", "demo", "--zone=z", "--way=group", *BUCKET, *PROGRAM)
    desk.wait_for(lambda: any("list-instances" in call for call in desk.calls()))
    status = desk.group("status", "demo", *BUCKET)
    assert "WAITING\n" in status.stdout
    assert "no capacity for demo" in status.stdout
    cloud.groups.capacity = True
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "demo: WAITING" in err


def test_a_name_that_is_taken_touches_nothing_of_the_other(desk, cloud, kept):
    assert desk.group("create", "demo", *BUCKET, *PROGRAM).returncode == 0
    (kept / "run.sh").write_text("the other's")
    again = desk.group("create", "demo", *BUCKET, *PROGRAM)
    assert again.returncode == 1
    assert "already exists" in again.stderr
    assert (kept / "run.sh").read_text() == "the other's"
    assert list(cloud.groups.groups) == list(cloud.groups.templates) == ["demo"]


def test_a_group_of_another_with_that_name_stays(desk, cloud):
    desk.group("create", "demo", *BUCKET, *PROGRAM)
    template = cloud.groups.templates.pop("demo")
    cloud.groups.templates["another's"] = template
    again = desk.group("create", "demo", *BUCKET, *PROGRAM)
    assert again.returncode == 1
    assert list(cloud.groups.groups) == ["demo"]


@pytest.mark.parametrize("refused", ["managed create", "resource-policies create", "cp"])
def test_half_a_creation_goes_again(desk, cloud, refused):
    cloud.refused = {refused}
    options = ("--type=v6e-16", "--folder", "/mnt/x")
    found = desk.group("create", "demo", *options, *BUCKET, *PROGRAM)
    assert found.returncode == 1
    assert nothing_is_left(cloud)


def test_a_job_gives_up_when_creating_fails_again_and_again(desk, cloud):
    cloud.refused = {"managed create"}
    job = desk.group("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert job.stderr.count("(managed create) refused") == 5
    assert "giving up after 5 failures in a row" in job.stderr


def test_a_job_gives_up_on_a_machine_that_starts_nothing(desk, cloud):
    desk.environment["ALIGNREG_POLL_SECONDS"] = "0"
    job = desk.group("job", "demo", *BUCKET, "--prepare", "false", *PROGRAM)
    assert job.returncode == 1
    assert "giving up after 60 looks at a machine that starts nothing" in job.stderr
    assert list(cloud.groups.groups) == ["demo"]
    log = next(cloud.groups.folder.iterdir()) / "alignreg" / "boot.log"
    assert "not at its end; trying again" in log.read_text()


def test_a_supervisor_that_could_not_save_is_started_again(desk, cloud, kept):
    tries = iter(range(999))

    def fail_for_a_while():
        cloud.refused = {"rsync"} if cloud.groups.groups and next(tries) < 60 else set()

    cloud.meanwhile = fail_for_a_while
    assert desk.group("job", "demo", *BUCKET, *PROGRAM).returncode == 0
    assert steps(kept / "workdir") == list(range(8))


def test_delete_takes_what_is_there(desk, cloud):
    desk.group("create", "demo", *BUCKET, *PROGRAM)
    cloud.groups.groups.clear()  # as after a deletion that was cut off
    assert desk.group("delete", "demo").returncode == 0
    assert nothing_is_left(cloud)
    assert desk.group("delete", "demo").returncode == 0


def test_delete_needs_no_type(desk, cloud):
    options = ("--type=v6e-16", "--folder", "/mnt/x", *BUCKET, *PROGRAM)
    assert desk.group("create", "demo", *options).returncode == 0
    assert desk.group("delete", "demo").returncode == 0
    assert nothing_is_left(cloud)


def test_a_group_that_is_left_is_no_success(desk, cloud):
    cloud.refused = {"managed delete"}
    job = desk.group("job", "demo", *BUCKET, *PROGRAM)
    assert job.returncode == 1
    assert "could not delete the TPU, which costs" in job.stderr
    assert list(cloud.groups.templates) == ["demo"]


def test_log_shows_what_the_machine_did_at_boot_and_then_the_bucket(desk, cloud, kept):
    desk.group("create", "demo", *BUCKET, *PROGRAM)
    desk.command("tail", 'cat "${@: -2:1}"')
    with cloud._lock:
        cloud.groups.look("demo")
    desk.wait_for(lambda: (kept / "state").read_text() == "ended 0\n")
    log = desk.group("log", "demo", *BUCKET)
    assert "installed alignreg/code" in log.stdout or "[tpu] in" in log.stdout
    desk.group("delete", "demo")
    assert "supervisor: the program ended with 0" in desk.group("log", "demo", *BUCKET).stdout


def test_several_machines_are_one_slice_that_is_replaced_as_a_whole(desk, cloud, tmp_path):
    """Of one that is lost the group makes no other; all start again, in their folder."""
    shared = tmp_path / "shared drive"
    desk.command(
        "program",
        'echo start >>"$STARTS"; cd "${@: -1}"; if [[ ! -e lost ]]; then exec sleep 600; fi\n'
        "echo {} >results.json; mkdir -p checkpoints; touch checkpoints/000000.json",
    )

    def saved_step():
        if len(desk.starts()) == 4:
            (shared / "lost").touch()
        return len(desk.starts())

    cloud.saved_step, cloud.preempt = saved_step, [4]
    job = desk.group("job", "demo", *BUCKET, "--type", "v6e-16", "--folder", shared, *PROGRAM)
    assert job.returncode == 0, job.stderr
    assert job.stderr.count("preempted") == 1
    assert cloud.created == ["demo"] * 2
    assert len(desk.starts()) == 8
    assert (desk.folder / "runs" / "demo" / "results.json").exists()
    assert not (desk.folder / "runs" / "demo" / "checkpoints").exists()
    assert nothing_is_left(cloud)


def test_several_machines_have_to_find_each_other(desk, cloud, kept, tmp_path):
    options = (*BUCKET, "--type", "v6e-16", "--folder", tmp_path / "shared", *PROGRAM)
    desk.group("create", "demo", *options)
    assert (
        "-- alignreg_jax.main --distributed=on --config configs/demo.py"
        in (kept / "run.sh").read_text()
    )
    assert len(cloud.groups.groups["demo"].machines) == 4
    assert RUNNING not in cloud.groups.groups["demo"].machines.values()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "demo", "--way=cloud"), "--way=cloud: choose queue or group"),
        (("create", "demo", "--way=group", *PROGRAM), "create needs --bucket gs://BUCKET"),
        (("create", "demo", "--way=group", *BUCKET), "create needs the program's arguments"),
        (("setup", "demo", "--way=group"), "with --way=group create does what setup does"),
        (("run", "demo", "--way=group", *BUCKET, *PROGRAM), "create does what run does"),
        (("fetch", "demo", "--way=group"), "fetch needs --bucket gs://BUCKET"),
        (("status", "demo", "--way=group", "--type=v5litepod-1"), "knows v6e-N, v5p-N and tpu7x-N"),
        (("create", "demo", "--way=queue", "--type=tpu7x-8"), "with --way=group only"),
        (
            ("job", "demo", "--way=group", "--type=v6e-16", *BUCKET, *PROGRAM),
            "several need a --folder",
        ),
        (
            ("job", "demo", "--way=group", "--type=v6e-16", "--sweep", *BUCKET, *PROGRAM),
            "a sweep wants one for each --shard",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(desk, arguments, said):
    found = desk.run("tpu.sh", *arguments[:2], "--zone=z", *arguments[2:])
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert said in found.stderr
    assert desk.calls() == []
