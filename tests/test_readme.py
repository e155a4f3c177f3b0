"""The README's code runs, and so does every command of the pages and of the configs' docstrings."""

import json
import os
import re
import subprocess
import sys

import docs_commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from xla_flags import EIGHT_DEVICES

from alignreg_jax import config, main, sweep
from alignreg_jax.pruning import masks, methods
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.starts import field_paths

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

README = (docs_commands.ROOT / "README.md").read_text()
METHODS = (docs_commands.ROOT / "docs/methods.md").read_text()


@pytest.fixture
def snippet():
    """The section "Add a method", executed; the tables are put back afterwards."""
    code = re.search(r"## Add a method.*?```python\n(.*?)```", README, re.DOTALL)[1]
    before = dict(methods.CRITERIA), dict(methods.PRESETS)
    exec(code, {})
    yield
    for table, rows in zip((methods.CRITERIA, methods.PRESETS), before, strict=True):
        table.clear()
        table.update(rows)


def test_the_readmes_method_can_be_chosen_and_prunes_by_its_scores(snippet):
    wanted = config.default_config()
    wanted.method = "relative-global-mbp"
    resolved = config.resolve(wanted)
    assert resolved.pruning.criterion == "relative"
    method = methods.build(criterion="relative", scope="global")
    # One matrix a thousand times larger: magnitude would keep it whole, relative magnitude does not
    random = np.random.default_rng(0)
    kernels = {name: jnp.asarray(random.normal(size=(1, 8, 8))) for name in KERNELS}
    kernels["output"] = kernels["output"] * 1000
    kept, _ = method.cut(kernels, masks.ones(kernels), {}, {}, 6 * 32, jax.random.key(0))
    assert sum(int(mask.sum()) for mask in kept.values()) == 6 * 32
    assert int(kept["output"].sum()) < 64


def test_the_tables_list_every_method_once():
    listed = re.findall(r"^\| `([\w-]+)` \|", METHODS, re.MULTILINE)
    assert sorted(listed) == sorted(methods.PRESETS)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How every command ended, with --check and small data under the names that it has."""
    folder = tmp_path_factory.mktemp("reader")
    command = [sys.executable, docs_commands.__file__, str(folder)]
    places = f"{docs_commands.ROOT}{os.pathsep}{docs_commands.ROOT / 'tests'}"
    flags = f"{os.environ['XLA_FLAGS']} {EIGHT_DEVICES}"
    environment = {**os.environ, "PYTHONPATH": places, "XLA_FLAGS": flags}
    subprocess.run(command, cwd=docs_commands.ROOT, env=environment, check=True)
    assert not (folder / "runs").exists(), "nothing is written"
    return json.loads((folder / "ended.json").read_text())


@pytest.mark.parametrize("command", docs_commands.all_lines())
def test_commands_come_to_the_end_of_their_input_checks(command, ended):
    if docs_commands.program(command) is None:
        assert reasons(command), f"run {command!r}, or say in NOT_RUN why not"
        return
    code, out, errors = ended[command]
    assert code == 0, errors
    assert out


def reasons(command):
    """Why a command is not run."""
    first = re.sub(r"^\w+=\$\(", "", command)
    return [
        why for begin, why in docs_commands.NOT_RUN.items() if f"{first} ".startswith(f"{begin} ")
    ]


def test_a_command_that_nobody_knows_needs_a_reason():
    for command in ("python -m something.else", "bash run.sh", "makes demo", "./configure"):
        assert docs_commands.program(command) is None
        assert not reasons(command)


@pytest.mark.parametrize("flag", docs_commands.flags())
def test_flags_in_the_text_are_fields_with_such_values(flag, monkeypatch):
    path, equals, value = flag.removeprefix("--config.").partition("=")
    if path in config.field_paths():
        program, file, resolve = main, "configs/pos.py", config.resolve
    else:
        assert path in field_paths()
        program, file, resolve = sweep, "configs/table1_demo.py", sweeps.resolve
    if equals and value != "...":
        monkeypatch.delitem(sys.modules, "config_config", raising=False)
        parsed = program._parse(["--config", f"{docs_commands.ROOT}/{file}", flag.rstrip(".,")])
        resolve(parsed[0] if program is main else parsed.config)
