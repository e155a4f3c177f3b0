"""Every command of tpu.sh: what it shows, what it calls, and what it says of mistakes."""

import shutil

import pytest

BUCKET = ("--bucket", "gs://mine/runs")
FOLDER = ("--folder", "/mnt/runs/demo")
PROGRAM = ("--", "--config", "configs/demo.py")


@pytest.fixture
def tpu_there(desk, cloud):
    """A TPU that is active, with the checkout installed."""
    cloud.has("demo")
    desk.tpu("setup", "demo")
    cloud.calls.clear()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("setup", ("--prepare", "sudo mount -t nfs 10.0.0.2:/runs '/mnt/my runs'")),
        ("setup", ("--project", "p")),
        ("run", (*BUCKET, *PROGRAM, "--config.task.data_dir=my data", "--note", "it's")),
        ("run", (*BUCKET, "--sweep", *PROGRAM, "--shard", "2/8")),
        ("status", BUCKET),
        ("status", ()),
        ("fetch", (*BUCKET, "--into", "my results")),
        ("delete", ()),
    ],
)
def test_a_command_calls_exactly_what_its_dry_run_shows(desk, cloud, tpu_there, command, options):
    options = [option.replace("sudo mount -t nfs", "echo") for option in options]
    shown = desk.shown(command, "demo", *options)
    assert desk.calls() == []
    desk.tpu(command, "demo", *options)
    assert desk.calls() == shown


def test_create_asks_for_a_spot_vm_with_the_types_runtime(desk, cloud):
    shown = desk.tpu("create", "demo", "--dry-run").stdout
    assert shown == (
        "gcloud compute tpus queued-resources create demo --node-id=demo --accelerator-type=v6e-1"
        " --runtime-version=v2-alpha-tpuv6e --spot --zone=z --quiet\n"
    )
    assert cloud.created == []


def test_create_takes_every_choice_from_flags_or_the_environment(desk):
    desk.environment |= {"ALIGNREG_TYPE": "v5litepod-8", "ALIGNREG_PROJECT": "ours"}
    shown = desk.tpu("create", "demo", "--on-demand", "--dry-run").stdout
    assert "--accelerator-type=v5litepod-8 --runtime-version=v2-alpha-tpuv5-lite --zone=z" in shown
    assert "--project=ours" in shown
    shown = desk.tpu("create", "demo", "--type=v9-1", "--image=new", "--dry-run").stdout
    assert "--accelerator-type=v9-1 --runtime-version=new --spot" in shown


def test_a_flag_wins_over_the_environment(desk):
    desk.environment["ALIGNREG_BUCKET"] = "gs://ours/"
    assert "--bucket gs://ours/demo --" in desk.shown("run", "demo", *PROGRAM)[0][7]
    assert "--folder /mnt/runs/demo --" in desk.shown("run", "demo", *FOLDER, *PROGRAM)[0][7]


def test_run_starts_the_supervisor_on_all_workers(desk):
    (call,) = desk.shown("run", "demo", *FOLDER, "--type", "v6e-16", *PROGRAM, "--config.note=a b")
    assert "--worker=all" in call
    assert (
        "--command=bash alignreg/code/tpu/vm/start.sh --folder /mnt/runs/demo --"
        " alignreg_jax.main --config configs/demo.py '--config.note=a b'"
    ) in call


def test_log_follows_the_vm_and_reads_the_bucket_when_it_is_gone(desk, cloud):
    assert "--command=tail -n 100 -F alignreg/current/log" in desk.shown("log", "demo")[0]
    logs = cloud.buckets / "mine" / "runs" / "demo" / "logs"
    logs.mkdir(parents=True)
    (logs / "1.txt").write_text("said before\n")
    assert desk.tpu("log", "demo", *BUCKET).stdout == "said before\n"


def test_fetch_leaves_checkpoints_where_they_are(desk, cloud):
    workdir = cloud.buckets / "mine" / "runs" / "demo" / "workdir"
    names = (
        "results.csv",
        "checkpoints/000001/d/0",
        "xnli/none/s0/checkpoints/1.json",
        "dense/k/x",
    )
    for name in (*names, "xnli/none/s0/results.csv"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(name)
    assert desk.tpu("fetch", "demo", *BUCKET).returncode == 0
    fetched = desk.folder / "runs" / "demo"
    there = {str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.is_file()}
    assert there == {"results.csv", "xnli/none/s0/results.csv"}


def test_a_second_run_on_a_vm_does_not_disturb_the_first(desk, cloud, tpu_there):
    desk.tpu("run", "demo", *BUCKET, *PROGRAM, "--halts", "3")
    desk.wait_for(desk.starts)
    again = desk.tpu("run", "demo", *BUCKET, *PROGRAM)
    assert "running already" in again.stdout
    assert "nothing changed" in desk.tpu("setup", "demo").stdout
    assert "running" in desk.tpu("status", "demo").stdout
    assert len(desk.starts()) == 1


def test_run_says_at_once_that_the_bucket_cannot_be_written(desk, cloud, tpu_there):
    cloud.refused = {"cp"}
    run = desk.tpu("run", "demo", *BUCKET, *PROGRAM)
    assert run.returncode != 0
    assert "cannot be reached" in run.stderr
    assert desk.starts() == []


def test_setup_copies_the_commit_and_says_what_stays(desk, cloud, checkout, tpu_there):
    code = cloud.tpus / "demo" / "worker-0" / "alignreg" / "code"
    (code / "old.py").touch()
    changed = checkout / "configs" / "demo.py"
    changed.write_text("# not committed")
    setup = desk.tpu("setup", "demo")
    changed.write_text("")
    assert setup.returncode == 0
    assert "changes that are not committed stay here" in setup.stderr
    assert (code / "configs" / "demo.py").read_text() == ""
    assert not (code / "old.py").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("start", "demo"), "unknown command start"),
        (("job",), "job needs a NAME"),
        (("job", "--zone", "us-east5-b", *BUCKET), "job needs a NAME for the TPU, before the"),
        (("create", "Demo", "--zone", "z"), "NAME Demo: small letters"),
        (("create", "demo"), "--zone is needed"),
        (("create", "demo", "--zone"), "--zone needs a value"),
        (("create", "demo", "--zone", "--spot"), "--zone needs a value"),
        (("create", "demo", "--colour", "red"), "unknown option --colour"),
        (("create", "demo", "--zone=z", "--type=v99-1"), "--type=v99-1 is not known"),
        (("fetch", "demo", "--zone=z"), "fetch needs --bucket gs://BUCKET or --folder"),
        (("run", "demo", "--zone=z", *PROGRAM), "run needs --bucket gs://BUCKET or --folder"),
        (("run", "demo", "--zone=z", "--bucket=mine", *PROGRAM), "--bucket=mine: give gs://"),
        (("run", "demo", "--zone=z", "--folder=runs", *PROGRAM), "--folder=runs: give the whole"),
        (("job", "demo", "--zone=z", *BUCKET, *FOLDER, *PROGRAM), "give one of them"),
        (("job", "demo", "--zone=z", *BUCKET), "job needs the program's arguments"),
        (("job", "demo", "--zone=z", *BUCKET, *PROGRAM, "--workdir=x"), "--workdir is set by"),
        (("job", "demo", "--zone=z", *BUCKET, "--", "--config=configs/no.py"), "not in the commit"),
        (
            ("job", "demo", "--zone=z", "--type=v6e-16", *BUCKET, *PROGRAM),
            "several need a --folder",
        ),
        (
            ("job", "demo", "--zone=z", "--type=v6e-16", "--sweep", *FOLDER, *PROGRAM),
            "a sweep wants one for each --shard",
        ),
        (("job", "demo", "--zone=z", "--max-preemptions=x", *BUCKET, *PROGRAM), "not a number"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(desk, arguments, said):
    found = desk.run("tpu.sh", *arguments)
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert said in found.stderr
    assert desk.calls() == []


@pytest.mark.parametrize("way", ["queue", "group"])
def test_without_gcloud_one_line_says_where_it_comes_from(desk, way):
    for name in ("bash", "dirname", "git"):
        (desk.folder / name).symlink_to(shutil.which(name))
    desk.environment["PATH"] = str(desk.folder)
    found = desk.tpu("job", "demo", "--way", way, *BUCKET, *PROGRAM)
    assert found.returncode == 2
    assert found.stderr == (
        "error: gcloud is not there; it comes from https://cloud.google.com/sdk/docs/install\n"
    )


def test_help_names_every_command(desk):
    found = desk.run("tpu.sh", "--help")
    assert found.returncode == 0
    for command in ("job", "create", "setup", "run", "log", "status", "fetch", "delete"):
        assert f"\n  {command} " in found.stdout
