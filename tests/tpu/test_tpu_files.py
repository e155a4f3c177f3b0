"""What other tools read: shellcheck, SkyPilot and Slurm."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TPU = Path(__file__).parents[2] / "tpu"
SCRIPTS = sorted(TPU.rglob("*.sh"))


def test_every_script_is_clean_to_shellcheck():
    here = f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin"
    shellcheck = shutil.which("shellcheck", path=here)
    assert shellcheck, 'it comes with pip install -e ".[test]"'
    found = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert found.stdout + found.stderr == ""


def test_every_script_is_read_in_one_go_and_can_be_executed():
    assert len(SCRIPTS) == 14
    for script in SCRIPTS:
        assert len(script.read_text().splitlines()) < 200
        if script.parent.name != "local":  # those are read by tpu.sh
            assert script.stat().st_mode & 0o111, script


def test_the_pages_commands_are_taken_as_they_are(desk, checkout):
    """Every call of tpu.sh in README.md; $shard is the loop's."""
    page = (TPU / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").replace("$shard", "2").splitlines()
    calls = [shlex.split(line.strip(" &")) for line in lines if "tpu/tpu.sh" in line]
    assert len(calls) == 4
    desk.environment |= {"ALIGNREG_ZONE": "z"}
    for _, command, name, *options in calls:
        if "--folder" not in options and "--bucket" not in options:
            options = ["--bucket", "gs://mine", *options]
        options = [option.replace("BUCKET", "mine") for option in options]
        done = desk.run("tpu.sh", command, name, "--dry-run", *options)
        assert done.returncode == 0, done.stderr
        wanted = "managed create" if "group" in options else "queued-resources create"
        assert wanted in done.stdout


def test_skypilots_file_starts_the_supervisor_with_what_it_takes(desk, cloud):
    task = yaml.safe_load((TPU / "sky.yaml").read_text())
    assert task["envs"]["BUCKET"] is None  # has to be given
    for name in re.findall(r"tpu/\S+\.sh", task["setup"] + task["run"]):
        assert (TPU.parent / name).is_file()
    venv = desk.folder / "home" / "alignreg" / "venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(desk.program)
    environment = {**task["envs"], "BUCKET": "gs://mine/sky"} | desk.environment
    done = subprocess.run(["bash", "-c", task["run"]], cwd=TPU.parent, env=environment)
    assert done.returncode == 0
    assert (cloud.buckets / "mine" / "sky" / "state").read_text() == "ended 0\n"


@pytest.fixture
def slurm(desk):
    """A Slurm task: `srun` runs what it is given, `scontrol` tells of its arguments."""
    desk.environment |= {
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_TASK_COUNT": "8",
        "SLURM_JOB_ID": "71",
        "ALIGNREG_VENV": str(desk.folder / "venv"),
    }
    (desk.folder / "venv" / "bin").mkdir(parents=True)
    (desk.folder / "venv" / "bin" / "python").symlink_to(desk.program)
    (desk.folder / "tpu").symlink_to(TPU)
    desk.command("srun", 'echo srun "$@"; exec "$@"')
    desk.command("scontrol", 'echo scontrol "$@"')
    return desk


def test_a_slurm_task_runs_its_shard_under_the_supervisor(slurm):
    found = slurm.run("slurm.sh", "runs/table", "--config", "configs/demo.py")
    assert found.returncode == 0
    call = shlex.split(found.stdout.splitlines()[0])
    assert call[call.index("--") :] == [
        *("--", f"{slurm.folder}/venv/bin/python", "-m", "alignreg_jax.sweep"),
        *("--config", "configs/demo.py", "--shard", "3/8"),
    ]
    assert (slurm.folder / "runs" / "table" / "results.json").exists()
    assert (slurm.folder / "runs" / "table.slurm" / "3" / "state").read_text() == "ended 0\n"
    assert "scontrol" not in found.stdout


def test_a_slurm_task_that_was_asked_to_stop_goes_back_into_the_queue(slurm):
    slurm.command("srun", "exit 143")
    found = slurm.run("slurm.sh", "runs/table", "--config", "configs/demo.py")
    assert (found.returncode, found.stdout) == (143, "scontrol requeue 71\n")


def test_the_number_of_shards_can_be_said(slurm):
    slurm.environment["SHARDS"] = "5"
    found = slurm.run("slurm.sh", "runs/table", "--config", "configs/demo.py")
    assert "--shard 3/5" in found.stdout


def test_a_slurm_task_without_arguments_is_a_mistake(slurm):
    found = slurm.run("slurm.sh", "runs/table")
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
