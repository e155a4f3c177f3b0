import json
import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tracking import METRICS_FILE, Tracker, read_events
from alignreg_jax.support import progress as progress_module
from alignreg_jax.support.files import atomic_write


def train(tracker, step, **values):
    tracker.log("train", step=step, phase=0, remaining=1.0, **values)


def test_atomic_write_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "new" / "file.txt"
    atomic_write(path, "één\n")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_atomic_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    atomic_write(path, "old")

    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_every_line_is_strict_json_even_with_nan(tmp_path):
    def reject(constant):
        raise AssertionError(f"{constant} is not JSON")

    with Tracker(tmp_path) as tracker:
        train(tracker, 3, loss=float("nan"), bound=-np.inf, rate=np.float32(0.5), norm=jnp.ones(2))
        # Read while the tracker is open: the line must have left the process already.
        (line,) = (tmp_path / METRICS_FILE).read_text().splitlines()
    event = json.loads(line, parse_constant=reject)
    assert event == {
        **{"n": 0, "kind": "train", "step": 3, "phase": 0, "remaining": 1.0},
        **{"loss": "NaN", "bound": "-Infinity", "rate": 0.5, "norm": [1.0, 1.0]},
    }
    assert np.isnan(float(event["loss"]))
    assert float(event["bound"]) == -np.inf


@settings(deadline=None, max_examples=25)
@given(count=st.integers(0, 6), position=st.integers(0, 6), torn=st.integers(0, 30))
def test_cut_back_keeps_what_the_checkpoint_saw(tmp_path_factory, count, position, torn):
    workdir = tmp_path_factory.mktemp("run")
    tracker = Tracker(workdir)
    for step in range(count):
        train(tracker, step // 2)  # two events share a step: only the position tells them apart
    tracker.close()
    with (workdir / METRICS_FILE).open("a") as file:
        file.write('{"n": 99, "kind": "train", "step": 9'[:torn])
    resumed = Tracker(workdir)
    assert resumed.position == count
    if position > count:
        with pytest.raises(UserError, match=f"holds {count} events"):
            resumed.cut_back(position)
        return
    resumed.cut_back(position)
    train(resumed, 7)
    resumed.close()
    assert [event["n"] for event in read_events(workdir / METRICS_FILE)] == [*range(position + 1)]


def test_a_torn_line_does_not_swallow_the_next_event(tmp_path):
    (tmp_path / METRICS_FILE).write_text('{"n": 0, "step": 1}\n{"n": 1, "st')
    with Tracker(tmp_path) as tracker:
        train(tracker, 2)
    assert [event["step"] for event in read_events(tmp_path / METRICS_FILE)] == [1, 2]


def test_cut_back_leaves_untouched_lines_byte_for_byte(tmp_path):
    tracker = Tracker(tmp_path)
    for step in range(3):
        train(tracker, step, loss=0.1 + step)
    before = (tmp_path / METRICS_FILE).read_bytes().splitlines()
    tracker.cut_back(2)
    assert (tmp_path / METRICS_FILE).read_bytes().splitlines() == before[:2]


@pytest.mark.parametrize("line", ["{oops", "[1]", '{"step": 1}', ""])
def test_damage_in_the_middle_names_file_and_line(tmp_path, line):
    (tmp_path / METRICS_FILE).write_text(f'{{"n": 0, "step": 1}}\n{line}\n{{"n": 1, "step": 2}}\n')
    with pytest.raises(UserError, match=rf"{METRICS_FILE}:2: "):
        read_events(tmp_path / METRICS_FILE)


def test_tensorboard_gets_the_scalars(tmp_path):
    tracker = Tracker(tmp_path, tensorboard=True)
    train(tracker, 1, loss=0.25, norms=[1.0])
    scores = {"test": {"en": {"accuracy": 0.5}}}
    tags = {"test": {"en": {"NOUN": {"f1": 0.5}}}}
    tracker.log("eval", step=1, phase=0, remaining=1.0, scores=scores, tags=tags)
    tracker.close()
    files = list((tmp_path / "tensorboard").iterdir())
    content = b"".join(file.read_bytes() for file in files)
    assert b"train/loss" in content
    assert b"eval/scores/test/en/accuracy" in content
    assert b"norms" not in content
    assert b"NOUN" not in content


def test_tensorboard_without_its_package_is_the_users_to_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"tensorboardX is not installed; pip install"):
        Tracker(tmp_path, tensorboard=True)


@pytest.fixture
def hooks(tmp_path, monkeypatch):
    """A module of the folder where a run is started, as a user writes one."""
    monkeypatch.chdir(tmp_path)
    text = "seen = []\ndef log(numbers, step):\n    seen.append((step, numbers))\n"
    (tmp_path / "my_hooks.py").write_text(text + "    if step == 3: raise ValueError('no net')\n")
    yield
    sys.modules.pop("my_hooks", None)


def test_a_hook_is_told_numbers_until_it_fails(tmp_path, hooks, caplog, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "my_numbers.py").write_text("THIRD = 3\n")
    (tmp_path / "my_steps.py").write_text("from my_numbers import THIRD\n")
    path = tmp_path / "my_hooks.py"
    mine = f"import sys\nsys.path.insert(0, {str(tmp_path / 'own')!r})\n"
    late = "    from my_steps import THIRD\n    if step == THIRD:"  # both folders are there later
    path.write_text(mine + path.read_text().replace("    if step == 3:", late))
    monkeypatch.setattr(sys, "path", list(sys.path))
    with Tracker(tmp_path, hook="my_hooks:log") as tracker:
        for step in (1, 2, 3, 4):
            train(tracker, step, loss=0.5 / step, norms=[1.0])
        scores = {"test": {"en": {"accuracy": 0.5}}}
        tracker.log("eval", step=5, phase=0, remaining=1.0, scores=scores)
    seen = sys.modules["my_hooks"].seen
    assert [step for step, _ in seen] == [1, 2, 3]
    assert seen[1][1]["train/loss"] == 0.25
    assert "tracking.hook failed and is called no more: ValueError('no net')" in caplog.text
    assert len(read_events(tmp_path / METRICS_FILE)) == 5
    sys.modules.pop("my_steps"), sys.modules.pop("my_numbers")


@pytest.mark.parametrize(
    "name", ["my_hooks", "my_hooks:nothing", "nowhere:log", "my_hooks:seen", ":log"]
)
def test_a_hook_that_is_none_is_the_users_to_fix(tmp_path, hooks, name):
    with pytest.raises(UserError, match=f"^tracking.hook={name}: "):
        Tracker(tmp_path, hook=name)


class FakeClock:
    now = 0.0

    def monotonic(self):
        return self.now


def test_a_log_gets_few_plain_lines_with_rate_and_time_left(capsys, monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(progress_module, "time", clock)
    with progress_module.progress(4000, "fine-tune", "examples") as bar:
        for _ in range(40):
            clock.now += 1.0
            bar.update(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "fine-tune:   0% 0/4000 examples"
    assert lines[1] == "fine-tune:  25% 1000/4000 examples, 100 examples/s, 0:30 left"
    assert lines[-1] == "fine-tune: 100% 4000/4000 examples, 100 examples/s, took 0:40"
    assert len(lines) == 6
    assert not re.search(r"[\r\x1b]", "".join(lines))


def test_a_resumed_loop_measures_only_its_own_rate(capsys, monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(progress_module, "time", clock)
    with progress_module.progress(10_000, "train", "examples", initial=9_000) as bar:
        clock.now += 20.0
        bar.update(500)
    assert "95% 9500/10000 examples, 25 examples/s, 0:20 left" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_module.progress(2, "train", "examples") as bar:
        bar.update(2)
    assert "\r" in capsys.readouterr().err
