"""The scripts in a checkout of their own, on a cloud that is a folder."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fake_cloud
import pytest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]


class Desk:
    """Where a user works: the scripts, and a `gcloud` that reaches only the cloud in this test."""

    def __init__(self, folder, checkout, cloud):
        self.folder, self.checkout, self.cloud = folder, checkout, cloud
        (folder / "bin").mkdir()
        (folder / "home").mkdir()
        self.command("gcloud", fake_cloud.CLIENT + 'ask "$@"')
        self.command("curl", fake_cloud.CLIENT + 'ask curl "$@"')
        self.command("sudo", '[[ $1 == -H ]] && exec "${@:2}"')
        stub = f'exec {shlex.quote(sys.executable)} -IS {HERE / "fake_program.py"} "$@"'
        self.program = self.command("program", stub)
        # `uv venv ... FOLDER` makes a folder whose python is the program's stand-in
        link = f'mkdir -p "${{@: -1}}/bin" && ln -s {self.program} "${{@: -1}}/bin/python"'
        self.command("uv", f"if [[ $1 == venv ]]; then {link}; fi")
        self.environment = {
            **{name: value for name, value in os.environ.items() if "ALIGNREG" not in name},
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "STARTS": str(folder / "starts.txt"),
            "STUB_PORT": str(cloud.port),
            "ALIGNREG_POLL_SECONDS": "0.05",
            "ALIGNREG_SAVE_SECONDS": "0.2",
            "ALIGNREG_RESTART_SECONDS": "0",
        }
        cloud.environment = self.environment

    def command(self, name, text):
        """A command, first on PATH."""
        path = self.folder / "bin" / name
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)
        return path

    def start(self, script, *arguments):
        """A script of the checkout in the background, in a process group of its own."""
        return subprocess.Popen(
            ["bash", self.checkout / "tpu" / script, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script, *arguments):
        """A script of the checkout, to its end."""
        process = self.start(script, *arguments)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def tpu(self, command, name, *options):
        """tpu.sh with a zone."""
        return self.run("tpu.sh", command, name, "--zone", "z", *options)

    def group(self, command, name, *options):
        """tpu.sh with a zone, by the other way."""
        return self.tpu(command, name, "--way", "group", *options)

    def shown(self, command, name, *options):
        """The calls of gcloud that a dry run prints."""
        lines = self.tpu(command, name, "--dry-run", *options).stdout.splitlines()
        return [call for call in map(shlex.split, lines) if call[0] == "gcloud"]

    def wait_for(self, condition):
        """Until something in the background has happened."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def calls(self):
        """What the scripts on this desk called."""
        return [arguments for where, arguments in self.cloud.calls if where == "laptop"]

    def starts(self):
        """A line for every start of the program."""
        path = Path(self.environment["STARTS"])
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """The scripts as they are now, committed to a repository without the rest of the project."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "tpu", folder / "tpu")
    (folder / "configs").mkdir()
    for name in ("demo", "table1", "xnli"):
        (folder / "configs" / f"{name}.py").touch()
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], [*identity, "commit", "-qm", "scripts"]):
        subprocess.run(["git", "-C", folder, *arguments], check=True)
    return folder


@pytest.fixture
def cloud(tmp_path):
    """A cloud with nothing in it."""
    cloud = fake_cloud.Cloud(tmp_path)
    yield cloud
    cloud.close()


@pytest.fixture
def desk(tmp_path, checkout, cloud):
    """Scripts and cloud."""
    return Desk(tmp_path, checkout, cloud)
