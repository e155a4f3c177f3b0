"""The command line: exit codes, one line for every mistake, and a workdir that stays as it was."""

import os
import re
import subprocess
import sys

import jax
import pytest
import tiny
from devices import on_eight

from alignreg_jax.main import main

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CONFIG_FILES = {
    "raises": "x = 1\nraise RuntimeError('first line\\nsecond line')\n",
    "syntax": "def get_config(arg='':\n    pass\n",
    "imports": "def get_config(arg=''):\n    import no_such_module\n",
    "exits": "def get_config(arg=''):\n    open('/no/such/file')\n",
    "empty": "",
    "nothing": "def get_config(arg=''):\n    return None\n",
    "dict": "def get_config(arg=''):\n    return {'method': 'none'}\n",
    "adds": (
        "from alignreg_jax.config import default_config\n"
        "def get_config(arg=''):\n"
        "    config = default_config()\n"
        "    config.train.momentum = 0.9\n"
        "    return config\n"
    ),
}


@pytest.fixture
def fails(world, tmp_path, capsys, monkeypatch):
    """Run a command line that is wrong; returns its one line, with the workdir untouched."""
    workdir = tmp_path / "run"

    def run(*flags, config=None):
        # One process, one config file: the library loads a second one on top of the first
        monkeypatch.delitem(sys.modules, "config_config", raising=False)
        arguments = ["--config", str(config or world.config), "--workdir", str(workdir), *flags]
        assert main(arguments) == 2
        output = capsys.readouterr()
        assert output.out == ""
        lines = output.err.splitlines()
        assert len(lines) == 1, output.err
        assert lines[0].startswith("error: ")
        assert not workdir.exists()
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--bogus=1"], ["bogus"]),
        (["surplus"], ["surplus"]),
        (["--config.train.bogus=1"], ["--config.train.bogus"]),
        (["--config.train.batchsize=1"], ["--config.train.batchsize", "train.batch_size"]),
        (["--config.train=1"], ["--config.train"]),
        (["--config.train.batch_size=1.5"], ["train.batch_size", "1.5"]),
        (["--config.train.batch_size=many"], ["train.batch_size", "many"]),
        (["--config.pruning.steps=three"], ["pruning.steps=three: should be a whole number"]),
        (["--config.train.learning_rate=abc"], ["rate=abc: should be a number"]),
        (["--config.seeds=0,1"], ["--config.seeds=0,1: of a run it is how many"]),
        (["--config.eval.save_predictions=maybe"], ["eval.save_predictions", "maybe"]),
        (["--config.method=mbp"], ["method", "mbp", "frobenius-mbp"]),
        (["--config.task.name=xquad"], ["task.name", "xquad", "xnli"]),
        (["--config.task.source=demo"], ["task.source", "demo", "folder"]),
        (["--config.task.data_dir=/no/such/folder"], ["/no/such/folder"]),
        (["--config.task.languages=xx"], ["task.languages", "xx", "sw"]),
        (["--config.eval.languages=en,xx"], ["eval.languages", "xx", "sw"]),
        (["--config.eval.every_phase_languages=xx"], ["eval.every_phase_languages", "xx"]),
        (["--config.task.max_length=39"], ["task.max_length=39", "38"]),
        (["--config.model.name_or_path=./nowhere"], ["model.name_or_path", "nowhere"]),
        (["--config.pruning.criterion=fisher"], ["pruning.criterion", "fisher", "magnitude"]),
        (["--config.pruning.schedule=explicit"], ["pruning.explicit", "pruning.steps=2"]),
        (["--config.pruning.final=0"], ["pruning.final=0"]),
        on_eight(["--config.mesh.data=3"], ["mesh.data=3", "8 devices"]),
        (["--config.mesh.data=-1", "--config.mesh.fsdp=-1"], ["only one"]),
        on_eight(["--config.train.batch_size=12"], ["train.batch_size", "12", "8"]),
        on_eight(["--config.train.accumulation=2"], ["train.accumulation", "4", "8"]),
        on_eight(["--config.eval.batch_size=4"], ["eval.batch_size=4", "8"]),
        on_eight(["--config.mesh.tensor=8", "--config.mesh.data=1"], ["tensor=8", "heads"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("-") else "",
)  # fmt: skip
def test_wrong_flags(fails, flags, words):
    line = fails(*flags)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", ["raises.py:2", "RuntimeError", "first line second line"]),
        ("syntax", ["syntax.py:1"]),
        ("imports", ["imports.py:2", "no_such_module"]),
        ("exits", ["exits.py:2", "/no/such/file"]),
        ("empty", ["empty.py", "get_config"]),
        ("nothing", ["--config"]),
        ("dict", ["default_config"]),
        ("adds", ["adds.py:4", "momentum"]),
    ],
)
def test_wrong_config_files(fails, tmp_path, name, words):
    path = tmp_path / f"{name}.py"
    path.write_text(CONFIG_FILES[name])
    line = fails(config=path)
    for word in words:
        assert word in line


def test_config_file_is_missing(fails, tmp_path):
    assert f"--config: {tmp_path} is a folder" in fails(config=tmp_path)
    assert "no such file: /no/such/config.py" in fails(config="/no/such/config.py")
    assert "no such file" in fails(config="/no/such/config.py:smoke")


def test_argument_of_a_config_is_unknown(fails):
    assert ":smoke" in fails(config=f"{tiny.ROOT}/configs/demo.py:nope")


def test_no_config_at_all(capsys):
    for arguments in ([], ["--workdir=x"], ["--config"], ["--config="]):
        assert main(arguments) == 2
        assert "--config" in capsys.readouterr().err


def test_a_bad_row_is_named(fails, world, tmp_path):
    data = tiny.copy(world.data, tmp_path / "data")
    with (data / "sw.test.jsonl").open("a") as file:
        file.write('{"text": "sw1", "label": "sideways"}\n')
    line = fails(f"--config.task.data_dir={data}")
    assert f"{data}/sw.test.jsonl:{tiny.ROWS['test'] + 1}" in line
    (data / "sw.test.jsonl").unlink()
    (data / "en.train.jsonl").unlink()
    assert "en.train.jsonl" in fails(f"--config.task.data_dir={data}")


def test_a_spoilt_encoder_is_named(fails, world, tmp_path):
    encoder = tiny.copy(world.encoder, tmp_path / "encoder")
    (encoder / "tokenizer.json").unlink()
    assert "tokenizer.json" in fails(f"--config.model.name_or_path={encoder}")
    encoder = tiny.copy(world.encoder, tmp_path / "another")
    (encoder / "model.safetensors").write_bytes(b"")
    assert "model.safetensors" in fails(f"--config.model.name_or_path={encoder}")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("eval.languages=en eval.every_phase_languages=de,sw",
         "eval.languages=en leaves out de, sw, which eval.every_phase_languages has"),
        ("train.warmup_steps=21", "train.warmup_steps=21: the whole run has 20 training steps"),
        ("pruning.epochs_per_step=1000000 pruning.steps=1000", "pruning.epochs_per_step=1000000"),
        ("train.freeze=embedings", "train.freeze='embedings'"),
        ("task.strip_space_marker=th", "task.strip_space_marker=th has no effect"),
        ("task.strip_space_marker=ja,en task.name=tokens",
         "task.strip_space_marker: no data for ja; there is de, en, sw"),
        ("pruning.explicit=0.9,0.8", "pruning.explicit=0.9,0.8 has no effect"),
        ("model.attention_dropout=1", "model.attention_dropout=1.0"),
        ("seed=9223372036854775808", "seed=9223372036854775808"),
        ("data_seed=18446744073709551616", "data_seed=18446744073709551616"),
    ],
)  # fmt: skip
def test_what_would_be_done_in_silence(fails, tmp_path, flags, says):
    if "name=tokens" in flags:
        (tmp_path / "words").mkdir()
        for name in ("en.train", "en.dev", "en.test", "de.test", "sw.test"):
            rows = '{"tokens": ["a", "b"], "tags": ["B-X", "O"]}\n'
            (tmp_path / "words" / f"{name}.jsonl").write_text(rows)
        flags += f" task.data_dir={tmp_path / 'words'}"
    assert says in fails(*(f"--config.{flag}" for flag in flags.split(" ")))


def test_a_sweeps_config(fails, tmp_path):
    path = tmp_path / "sweep.py"
    path.write_text("from alignreg_jax.sweeping.starts import default_config as get_config\n")
    assert "python -m alignreg_jax.sweep takes it" in fails(config=path)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"alignreg_jax \S+, jax \S+, Python \S+\n", capsys.readouterr().out)


def test_home_of_a_workdir(world, tmp_path, monkeypatch, capsys):
    """A shell leaves the ~ of --workdir=~/x to the program."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", str(world.config), "--workdir=~/runs/x", "--check"]
    assert main(arguments) == 0
    assert f"{tmp_path}/home/runs/x (new)" in capsys.readouterr().out
    arguments[2] = "--workdir=~nobody-here/x"
    assert main(arguments) == 2
    assert "--workdir=~nobody-here/x: there is no such home" in capsys.readouterr().err
    assert not (tmp_path / "~").exists()


def test_check_says_what_would_be_done_and_writes_nothing(world, tmp_path, capsys):
    command = tiny.command(world, tmp_path / "run", "--check")
    assert main([*command, "--config.seeds=2"]) == 0
    out = capsys.readouterr().out
    for words in (
        "frobenius-mbp on folder",
        f"seed 0    {tmp_path}/run/s0 (new)",
        f"seed 1    {tmp_path}/run/s1 (new)",
        "2 layers of 32",
        "40 training rows",
        "3 languages: de, en, sw",
        "20 steps: 10 dense, then 5 after each of 2 cuts, to 70.7%, 50.0%",
        f"{jax.device_count()} x cpu",
    ):
        assert words in out
    for field, value, says in (
        ("pruning.scope", "n:4", "n:4: 3, 2 or 1 of four .*, not 70.7 %"),
        ("tracking.hook", "json", "json: should be module:function, such as mlflow:log_metrics$"),
        ("tracking.hook", "nope:log", "nope:log: ModuleNotFoundError: No module named 'nope'"),
    ):
        assert main([*command, f"--config.{field}={value}"]) == 2
        assert re.match(rf"error: {field}={says}", capsys.readouterr().err)
    for field in ("attention", "norm"):
        assert main([*command, f"--config.model.{field}=fused"]) == 2
        assert f"error: model.{field}=fused needs an NVIDIA GPU" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def refused(world, workdir, capsys):
    assert main(tiny.command(world, workdir)) == 2
    output = capsys.readouterr()
    assert len(output.err.splitlines()) == 1, output.err
    assert output.err.startswith("error: --workdir=")
    return output.err


def test_workdir_is_a_file(world, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("mine")
    assert "is a file" in refused(world, path, capsys)
    assert "cannot be written" in refused(world, path / "below", capsys)
    assert path.read_text() == "mine"


def test_workdir_holds_something_else(world, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("mine")
    assert "not empty" in refused(world, tmp_path, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_workdir_cannot_be_written(world, tmp_path, capsys, monkeypatch):
    denied = []
    monkeypatch.setattr(os, "access", lambda path, mode: denied.append(str(path)))  # root may all
    assert "cannot be written" in refused(world, tmp_path / "deep" / "run", capsys)
    assert denied == [str(tmp_path)]
    monkeypatch.undo()
    # The system may refuse what permissions allow; that, too, before anything is read
    assert "/proc" in refused(world, "/proc/run", capsys)


def test_workdir_is_in_use(world, tmp_path, capsys):
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert "another process" in refused(world, tmp_path, capsys)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help(capsys, flag):
    assert main([flag]) == 0
    output = capsys.readouterr().out
    for word in ("--config FILE", "--workdir", "every_phase_languages", "steps_per_dispatch"):
        assert word in output
    assert "* --" not in output
    assert max(map(len, output.splitlines())) <= 100


def test_help_shows_what_a_config_file_and_flags_set_and_needs_no_jax(tmp_path):
    """In a process of its own, as this one has imported JAX."""
    code = (
        "import sys; from alignreg_jax.main import main;"
        f" main({['--config', 'configs/demo.py:smoke', '--config.seed=7', '-h']});"
        " sys.exit('jax' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert any(line.startswith("* --config.seed=7 ") for line in lines)
    assert any(line.startswith("* --config.task.train_examples=640 ") for line in lines)
    assert any(line.startswith("  --config.seeds=1 ") for line in lines)


def test_help_with_a_mistake_says_so(capsys):
    assert main(["--help", "--config", "configs/nowhere.py"]) == 2
    assert "no such file: configs/nowhere.py" in capsys.readouterr().err
