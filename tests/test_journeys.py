"""The pages of docs/journeys: every line of Python in them runs, from top to bottom."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

PAGES = sorted((tiny.ROOT / "docs/journeys").glob("*.md"))
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
SAID = {
    "own_classifier": (r"^kept: \w+ in \[.*'predict\.py'", r"^50% \{'de': "),
    "own_flax_model": (r"^dense: 9\d\.\d%$", r"^2,457 weights: (8|9)\d\.\d%$"),
    "table_row": (r"^l2-mbp +0\.\d+ ", r"^\| l2-mbp \|"),
}


def program(page: Path) -> str:
    """The blocks at their lines, so that an error names the page's line."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCKS.finditer(text):
        first = text[: block.start(1)].count("\n")
        lines[first : first + block[1].count("\n")] = block[1].splitlines()
    return "\n".join(lines)


def test_what_contributors_are_told_works(tmp_path):
    """Its rows resolve to a method, in a process whose tables may be changed."""
    script = tmp_path / "contributing.py"
    script.write_text(
        program(tiny.ROOT / "CONTRIBUTING.md")
        + """
from alignreg_jax.config import default_config, resolve
config = default_config()
config.method, config.task.name, config.task.data_dir = "saliency-frobenius", "topics", "."
config.task.source = "folder"
resolved = resolve(config)
print(methods.CRITERIA[resolved.pruning.criterion].needs, resolved.regularizer.name)
"""
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "frozenset({'grad'}) frobenius\n"


def test_every_page_is_run():
    assert {page.stem for page in PAGES} == set(SAID)


# The bundled encoder is large enough for its programs to be worth compiling well
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page, tmp_path):
    script = tmp_path / f"{page.stem}.py"
    script.write_text(program(page), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=tiny.environment(XLA_FLAGS=""),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    for line in SAID[page.stem]:
        assert re.search(line, ran.stdout, re.M), ran.stdout
