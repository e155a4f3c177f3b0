"""Several processes make one run: together what one would, also through kills."""

import json
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
import tiny

from alignreg_jax.errors import UserError
from alignreg_jax.support import processes

FLAGS = (
    "--config.mesh.data=2",
    "--config.mesh.fsdp=2",
    "--config.mesh.tensor=2",
    "--config.train.steps_per_dispatch=1",
    "--config.pruning.steps=1",
    "--config.pruning.first_epochs=4",  # JAX tells the others of a signal within some seconds
)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Peers:
    """Processes of four devices each, on this machine."""

    def __init__(self, folder, commands):
        address = f"127.0.0.1:{free_port()}"
        self.notes = [folder / f"masks-{index}.txt" for index in range(len(commands))]
        self.all = [
            subprocess.Popen(
                [sys.executable, tiny.ROOT / "tests" / "peer.py", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tiny.ROOT,
                env=tiny.environment(
                    PYTHONPATH=str(tiny.ROOT),
                    XLA_FLAGS=f"{tiny.FAST_COMPILE} --xla_force_host_platform_device_count="
                    f"{8 // len(commands)}",
                    NOTES=str(self.notes[index]),
                    **({} if len(commands) == 1 else {
                        "JAX_COORDINATOR_ADDRESS": address,
                        "JAX_NUM_PROCESSES": str(len(commands)),
                        "JAX_PROCESS_ID": str(index),
                    }),
                ),
            )
            for index, command in enumerate(commands)
        ]  # fmt: skip

    def wait_until(self, moment):
        while not moment():
            assert all(peer.poll() is None for peer in self.all), self.end()
            time.sleep(0.01)

    def end(self):
        """Exit codes and what was said on standard error."""
        said = [peer.communicate(timeout=300)[1] for peer in self.all]
        return [peer.returncode for peer in self.all], said


@pytest.mark.slow
def test_two_processes_are_stopped_and_killed_and_end_as_one_would(world, tmp_path):
    alone, workdir = tmp_path / "alone", tmp_path / "run"
    codes, said = Peers(tmp_path, [tiny.command(world, alone, *FLAGS)]).end()
    assert codes == [0], said
    command = tiny.command(world, workdir, *FLAGS)

    def count(kind):
        return [event["kind"] for event in tiny.events(workdir)].count(kind)

    # One of them is asked to stop: both do, after the same step, which the first has saved
    peers = Peers(tmp_path, [command, command])
    peers.wait_until(lambda: count("train") >= 1)
    peers.all[1].send_signal(signal.SIGTERM)
    codes, said = peers.end()
    assert codes == [143, 143], said
    steps = [event["step"] for event in tiny.events(workdir) if event["kind"] == "train"]
    manifests = [json.loads(path.read_text()) for path in workdir.glob("checkpoints/*.json")]
    assert max(manifest["position"]["step"] for manifest in manifests) == steps[-1]
    # One of them is killed: the other ends, too
    peers = Peers(tmp_path, [command, command])
    peers.wait_until(lambda: count("prune") >= 1)
    peers.all[1].kill()
    codes, said = peers.end()
    assert codes[0] not in (0, 2, 3), said  # not an end for good: a supervisor starts it again
    peers = Peers(tmp_path, [command, command])
    codes, said = peers.end()
    assert codes == [0, 0], said
    assert "continuing from step" in said[0]
    for name in ("results.csv", "masks.npz"):
        assert (workdir / name).read_bytes() == (alone / name).read_bytes()
    # Every step was taken once; sums over processes are rounded in another order
    losses, others = (
        {event["step"]: event["loss"] for event in tiny.events(folder) if event["kind"] == "train"}
        for folder in (workdir, alone)
    )
    assert losses == pytest.approx(others, rel=1e-4)
    # Masks: what both hold of a kernel is the same to the bit, after the cut
    held = [set(notes.read_text().splitlines()) for notes in peers.notes]
    assert held[0] == held[1]
    assert len({line.split()[0] for line in held[0]}) == 1


def test_processes_without_a_folder_in_common_say_so(world, tmp_path):
    folders = [tmp_path / name for name in ("one", "other")]
    codes, said = Peers(tmp_path, [tiny.command(world, folder) for folder in folders]).end()
    assert codes == [2, 2]
    assert said[0].splitlines()[-1] == "error: process 1 stopped; why is in its own output"
    assert said[1].splitlines()[-1] == (
        f"error: --workdir={folders[1]} is not there for every process; several of them need a"
        " folder that all see"
    )


def test_processes_that_have_read_other_files_say_so(monkeypatch):
    """Each holds what it has read; the digests of all of them are compared."""
    ours = {"rows": {"en.train": "0", "de.test": "1"}, "labels": "2", "head": None}
    theirs = ours | {"rows": ours["rows"] | {"de.test": "3"}, "head": "4"}
    processes.check_alike(ours)  # alone
    monkeypatch.setattr(processes, "count", lambda: 2)

    def told(values):
        said = []
        monkeypatch.setattr(
            processes.multihost_utils, "process_allgather", lambda one: said.append(one) or [one]
        )
        processes.check_alike(values)
        return said[0]

    both = [told(ours), told(theirs)]
    monkeypatch.setattr(processes.multihost_utils, "process_allgather", lambda one: both)
    with pytest.raises(UserError, match=r"^process 1 has read others than process 0: head, rows;"):
        processes.check_alike(ours)
    with pytest.raises(UserError, match=r"^process 0 has read others than .*: head, rows;"):
        processes.check_alike(theirs)


@pytest.mark.parametrize(
    ("mode", "environment", "said"),
    [
        ("maybe", {}, "--distributed='maybe' should be one of auto, on, off"),
        ("on", {}, "--distributed=on: coordinator_address should be defined. set JAX_COORD"),
        ("on", {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES='two' is not a number"),
    ],
)
def test_nobody_to_join_is_a_mistake(mode, environment, said, monkeypatch):
    monkeypatch.setattr("jax.distributed.initialize", refuse)
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        processes.connect(mode, environment)


def test_in_a_process_that_has_used_its_devices():
    """A run from Python, beside other work, is alone; where that cannot be meant it is told."""
    jax.devices()
    processes.connect("auto", {})
    for mode, environment in (("on", {}), ("auto", {"JAX_COORDINATOR_ADDRESS": "here:1"})):
        with pytest.raises(UserError, match="must be called before"):
            processes.connect(mode, environment)


def refuse(**arguments):
    """As JAX does where it finds no cluster."""
    raise ValueError("coordinator_address should be defined.")


@pytest.mark.parametrize(
    ("mode", "environment", "joins"),
    [
        ("off", {"JAX_COORDINATOR_ADDRESS": "here:1"}, False),
        ("auto", {"SLURM_NTASKS": "1"}, False),
        ("auto", {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ("auto", {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}, True),
        ("auto", {"SLURM_NTASKS": "1", "JAX_COORDINATOR_ADDRESS": "here:1"}, True),
        ("auto", {}, True),  # JAX looks for a TPU VM and other clusters
    ],
)
def test_who_looks_for_others(mode, environment, joins, monkeypatch):
    asked = []

    def initialize(**arguments):
        asked.append(arguments)
        refuse()

    monkeypatch.setattr("jax.distributed.initialize", initialize)
    processes.connect(mode, environment)
    assert asked == [{}] * joins


def test_numbers_of_the_environment_are_handed_on(monkeypatch):
    asked = {}
    monkeypatch.setattr("jax.distributed.initialize", lambda **arguments: asked.update(arguments))
    monkeypatch.setattr(processes.termination, "answer", lambda: None)
    processes.connect("on", {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"})
    assert asked == {"num_processes": 1, "process_id": 0}
