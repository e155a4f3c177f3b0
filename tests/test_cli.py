"""One command for all programs; configs are found in a source tree and in a wheel."""

import shutil
import subprocess
import sys
import tomllib

import pytest
import tiny

from alignreg_jax import cli, main, sweep


@pytest.fixture
def started(monkeypatch):
    """What was started, with which arguments."""
    found = []
    for program in (main, sweep):
        name = program.__name__
        monkeypatch.setattr(
            program, "main", lambda given, name=name: found.append((name, list(given))) or 7
        )
    return found


@pytest.mark.parametrize(
    ("typed", "program", "arguments"),
    [
        ("run --config a.py", "main", ["--config", "a.py"]),
        ("sweep --config a.py --list", "sweep", ["--config", "a.py", "--list"]),
        ("--config a.py --check", "main", ["--config", "a.py", "--check"]),
        ("demo", "main", ["--config", "DEMO"]),
        ("demo smoke --check", "main", ["--config", "DEMO:smoke", "--check"]),
        ("demo --workdir smoke", "main", ["--config", "DEMO", "--workdir", "smoke"]),
    ],
)
def test_commands_are_the_programs(started, typed, program, arguments):
    demo = str(tiny.ROOT / "configs" / "demo.py")
    assert cli.execute(typed.split()) == 7
    expected = [argument.replace("DEMO", demo) for argument in arguments]
    assert started == [(f"alignreg_jax.{program}", expected)]


def test_what_is_no_command(capsys, started):
    assert cli.execute(["prune"]) == 2
    assert capsys.readouterr().err.startswith("error: alignreg prune: choose one of run, sweep, ")
    for arguments in ([], ["--help"]):
        assert cli.execute(arguments) == 0
        assert "alignreg demo [smoke|plain]" in capsys.readouterr().out
    assert cli.execute(["--version"]) == 0
    assert capsys.readouterr().out.startswith("alignreg_jax ")
    assert not started


def test_ones_own_data(tmp_path, capsys, started):
    own = tiny.ROOT / "configs" / "own.py"
    assert cli.execute(["own", str(tmp_path), "--check"]) == 7
    assert started == [("alignreg_jax.main", ["--config", f"{own}:{tmp_path}", "--check"])]
    started.clear()
    assert cli.execute(["own"]) == 2
    assert capsys.readouterr().err.startswith("error: alignreg own: FOLDER is missing")
    assert cli.execute(["own", "--check"]) == 2
    assert "FOLDER is missing" in capsys.readouterr().err
    assert cli.execute(["own", str(tmp_path / "nowhere")]) == 2
    assert f"alignreg own {tmp_path / 'nowhere'}: no such folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert cli.execute(["own", str(tmp_path / "file")]) == 2
    assert f"alignreg own {tmp_path / 'file'}: is a file, not a folder" in capsys.readouterr().err
    assert not started
    assert cli.execute(["own", "--help"]) == 7
    out = capsys.readouterr().out
    assert "en.train.jsonl, en.dev.jsonl   required" in out
    assert "with unlabelled text in FOLDER distill.text=data and pruning.epochs_per_step=4" in out
    assert started == [("alignreg_jax.main", ["--config", str(own), "--help"])]


def test_configs_ship_in_the_wheel(tmp_path, monkeypatch):
    build = tomllib.loads((tiny.ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    place = build["targets"]["wheel"]["force-include"]["configs"]
    shutil.copytree(tiny.ROOT / "configs", tmp_path / place)
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "alignreg_jax" / "cli.py"))
    assert cli.config_folder() == tmp_path / place
    assert (cli.config_folder() / "demo.py").exists()


@pytest.mark.parametrize("typed", [["--help"], ["--version"], ["foo"], ["mask", "--help"]])
def test_help_does_not_wait_for_jax(typed):
    """In a process of its own, as this one has imported JAX."""
    code = (
        f"import sys; from alignreg_jax import cli; cli.execute({typed});"
        " sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("report --help", "usage: alignreg report RUN [RUN ...] [--out FILE]"),
        ("mask -h", "usage: alignreg mask write BASE EXPORT OUT"),
        ("push --help", "usage: alignreg push FOLDER OWNER/NAME"),
        ("trim --help", "usage: alignreg trim MODEL --out DIR"),
    ],
)
def test_every_command_has_help(capsys, typed, says):
    assert cli.execute(typed.split()) == 0
    assert capsys.readouterr().out.startswith(says)


def test_help_of_the_demo_names_its_kinds(capsys, started):
    assert cli.execute(["demo", "smoke", "--help"]) == 7
    out = capsys.readouterr().out
    assert out.index("demo:smoke") < out.index("demo:plain") < out.index("All fields:")
    assert started[0][1][-1] == "--help"


def test_report_of_a_run_that_is_not_finished(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"config": {}}')
    assert cli.execute(["report", str(tmp_path)]) == 2
    expected = "the run is not finished; the command that made it continues it"
    assert capsys.readouterr().err == f"error: {tmp_path}: {expected}\n"
