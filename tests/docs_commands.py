"""The command lines of README.md, the pages beside it and the configs' docstrings, and their data.

`python tests/docs_commands.py FOLDER` runs them all in one process, where no test checks the types
of every call, and writes how they ended to FOLDER/ended.json.
"""

import ast
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pyarrow
import pyarrow.parquet
import tiny
import xglue_tree

from alignreg_jax import main, sweep
from alignreg_jax.data.tasks import get_task
from alignreg_jax.run.plan import Phases

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("methods", "data", "smaller", "inside", "sweeps", "devices", "runs")
    ),
    "tpu/README.md",
)
# What stands between simple commands, outside of quotes: an even number of them follows
_BETWEEN = re.compile(
    r"\s*(?:;|&&|(?<!\S)&(?!\S)|\||\b(?:do|done|wait)\b(?=\s|;|$))\s*(?=(?:[^']*'[^']*')*[^']*$)"
)

NOT_RUN = {
    "alignreg own": "on a folder of the reader's; tests/config/test_own.py has some",
    "alignreg deploy": "of a run of the reader's; tests/test_journeys.py deploys one",
    "alignreg push": "needs an account; tests/test_push.py has a stand-in",
    "for": "a loop of the shell around commands that are checked one by one",
    "ls": "shows a folder that the reader has made",
    "export": "sets variables for the next lines",
    "pip": "installs an extra from a package index",
    "gcloud": "needs an account of Google's",
    "sky": "needs SkyPilot and an account of a cloud; tests/tpu checks sky.yaml",
    "make test": "runs these tests",
    "python -m alignreg_jax.shrink": "needs the export of a run; tests/compress makes some",
    "python -m alignreg_jax.trim": "needs the export of a run and texts; tests/compress has some",
    "python -m alignreg_jax.probe": "needs a run with its steps; tests/compress has one",
    "python -m alignreg_jax.deploy": "needs the export of a run; tests/compress makes some",
    "python served/predict.py": "is written by the command before; tests/compress runs it",
    "python -m alignreg_jax.sweeping.settings": "needs the results of a sweep; tests/reporting has",
    "python tools/build_demo_encoder.py": "builds an encoder, which takes minutes",
    "python tools/build_help_data.py": "downloads packages; tests/data/test_help_data.py has pages",
}
"""How a command begins -> why it is not run here."""


def lines(page: str) -> list[str]:
    """The simple commands of a page's sh blocks, or of a config's docstring."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith(".py"):
        text = ast.get_docstring(ast.parse(text)) or ""
        text = re.sub(r"\\\n\s+", "", text)
        found = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
        # Behind two spaces or a parenthesis comes what the command is for
        found = [re.split(r"\s{2,}|\s+\(", line)[0].strip() for line in found]
        rest = re.sub(r".*--config \S+\s*", "", found[0])  # which dots stand for
        return [re.sub(r"\s+\.\.\..*", f" {rest}", line) for line in found]
    commands = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        block = re.sub(r"\\\n\s*", "", block)
        for line in block.splitlines():
            parts = _BETWEEN.split(re.sub(r"(^|\s+)#.*", "", line))
            commands += [part.strip() for part in parts if part.strip()]
    return commands


def all_lines() -> list[str]:
    """Every command, each once, in their order."""
    pages = [
        *PAGES,
        *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/*.py")),
    ]
    return list(dict.fromkeys(command for page in pages for command in lines(page)))


def program(command: str) -> tuple[str, list[str]] | None:
    """Which program of ours a command starts, with which arguments; None: none that is run here.

    A shell's variables are 1. What a script of tpu/ hands on to the program is the program's.
    """
    words = shlex.split(re.sub(r"\$\w+", "1", command))
    while words and re.fullmatch(r"\w+=\S*", words[0]):
        words = words[1:]
    if words[:2] == ["make", "demo"]:
        recipe = re.search(r"^demo:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
        words = shlex.split(recipe.replace("$(WORKDIR)", "runs/demo"))
    if words[:2] == ["python", "-m"] and words[2] in ("alignreg_jax.main", "alignreg_jax.sweep"):
        return words[2].partition(".")[2], words[3:]
    if words[:2] == ["python", "tpu/cost.py"]:
        given = {"RATE": "100", "RATE2": "1000", "PRICE": "2", "PRICE2": "1"}
        return "cost", [given.get(word, word) for word in words[2:]]
    if words[:2] == ["tpu/tpu.sh", "job"]:
        name = "sweep" if "--sweep" in words else "main"
        return name, words[words.index("--") + 1 :]
    if words[0] == "sbatch":
        workdir, *rest = words[words.index("tpu/slurm.sh") + 1 :]
        return "sweep", [*rest, "--workdir", workdir]
    return None


def flags() -> list[str]:
    """Every --config.FIELD or --config.FIELD=VALUE that pages and docstrings speak of."""
    pages = [*PAGES, *(path.relative_to(ROOT) for path in ROOT.glob("configs/*.py"))]
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in pages)
    return sorted(set(re.findall(r"--config\.[\w.]+\w(?:=[^\s`;)]*)?", text)) - {"--config.FIELD"})


# ---- Small data and encoders under the names that the commands have -----------------------------


def build(folder: Path) -> dict[str, Path]:
    """Fill a folder that the commands are started in; returns what stands in for the Hub."""
    for name in ("configs", "tpu"):
        (folder / name).symlink_to(ROOT / name)
    rows = [
        f"{language}.{split}" for language in ("en", "de", "th", "zh") for split in ("dev", "test")
    ]
    texts = '{"text": "a b", "label": "x"}\n{"text": "c", "label": "y"}\n'
    spans = '{"tokens": ["a", "b"], "tags": ["B-X", "O"]}\n'
    for name, row in (
        ("data", texts),
        ("ner", spans),
        ("ud_pos", '{"tokens": ["a", "b"], "tags": ["X", "Y"]}\n'),
        ("help_data/topics", texts),
        ("help_data/tags", spans),
    ):
        (folder / name).mkdir(parents=True)
        if "help" in name:
            (folder / name / "de.unlabelled.txt").write_text("b c a\n" * 2)
        for split in ("en.train", *rows):
            # So many in training that a run is longer than its warm-up
            (folder / name / f"{split}.jsonl").write_text(row * (200 if "train" in split else 1))
    tree = xglue_tree.write(folder)
    for path in (*tree.glob("WPR/*.dev"), *tree.glob("WPR/*.test")):
        path.write_bytes(path.read_bytes() * 2)  # pages of one query are ranked
    shutil.make_archive(str(tree), "gztar", folder, tree.name)
    (folder / "XGLUE").symlink_to(tree)
    hub = folder / "hub"
    encoder = hub / "FacebookAI/xlm-roberta-base"
    tiny.write_encoder(encoder, ["a", "b", "c"], positions=258)
    for name in ("ud_encoder", "help_encoder"):
        (folder / name).symlink_to(encoder)
    found = {"FacebookAI/xlm-roberta-base": encoder}
    for name in ("xnli", "pawsx"):
        found[str(get_task(name).hub_id)] = _parquet(hub / name, name)
    found["hgissbkh/xglue"] = _parquet(hub / "mirror", "ner", config="ner")
    return found


def _parquet(folder: Path, name: str, config: str = "") -> Path:
    """A task as the Hub has it: a folder per language, or one for all of them."""
    task = get_task(name)
    words = task.kind == "token"
    values = {column: [["a", "b"]] if words else ["a b"] for column in task.columns[:-1]}
    label = str((task.labels or ())[0])
    table = pyarrow.table({**values, task.columns[-1]: [[label] * 2] if words else [label]})
    for language in task.languages or ():
        for split in ("train", "validation", "test"):
            of = f".{language}" if config and split != "train" else ""
            path = folder / (config or language) / f"{split}{of}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(table, path)
    return folder


def run_all(folder: Path) -> dict[str, tuple[int, str, str]]:
    """Exit code, output and errors of every command that starts a program of ours."""
    hub = build(folder)
    huggingface_hub.snapshot_download = lambda name, **given: hub[name]
    Phases.check_learning = lambda phases, cut_at: None  # so few rows have no halves
    cost = runpy.run_path(str(ROOT / "tpu/cost.py"))["_run"]
    programs = {"main": main.main, "sweep": sweep.main, "cost": cost}
    os.chdir(folder)
    ended = {}
    for command in all_lines():
        if (known := program(command)) is None:
            continue
        name, arguments = known
        arguments = [
            word.replace("/tmp/xglue.tar.gz", "xglue_full_dataset.tar.gz") for word in arguments
        ]
        if name != "cost" and "--list" not in arguments:
            arguments.append("--check")
        if name == "sweep":
            arguments.append("--config.seeds=0")  # all seeds read the same
        sys.modules.pop("config_config", None)  # the library loads a second file on top of it
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = programs[name](arguments)
        ended[command] = code, out.getvalue(), errors.getvalue()
    return ended


if __name__ == "__main__":
    (target := Path(sys.argv[1])).joinpath("ended.json").write_text(json.dumps(run_all(target)))
