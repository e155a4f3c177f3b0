"""The `alignreg` command: run, sweep, demo, own, shrink, trim, deploy, probe, ..."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from alignreg_jax import deploy, main, probe, push, shrink, sweep, trim
from alignreg_jax.errors import UserError
from alignreg_jax.support import flags, terminal

_USAGE = """\
usage: alignreg run --config FILE[:args] [...]     fine-tune, prune, evaluate, export
       alignreg sweep --config FILE[:args] [...]   every method on every task, and the table
       alignreg demo [smoke|plain] [...]           a run on the bundled data and encoder
       alignreg own FOLDER [...]                   a run on your data, for a model of any size
       alignreg shrink EXPORT OUT [...]            the model without its empty attention heads and
                                                   feed-forward units: physically smaller
       alignreg trim MODEL --out DIR [...]         the model with fewer pieces, those that some
                                                   languages and texts need
       alignreg deploy RUN --out DIR [...]         the model as ONNX in eight bits, behind a gate
                                                   for every language
       alignreg report RUN [RUN ...] [--out FILE]  the report of a run again, with a deployed model
                       [--served DIR]              in RUN/served or DIR; of several, side by side
       alignreg probe MODEL [MODEL ...] [...]      how alike languages still are inside, by layer
       alignreg push FOLDER OWNER/NAME             an export, or what the others write, to the Hub
       alignreg mask write BASE EXPORT OUT         an export whose encoder's weights were only left
                                                   out, none trained, as a mask and a head
       alignreg mask apply BASE MASK OUT           the export again; BASE is a folder or Hub id

The first two are `python -m alignreg_jax.main` and `python -m alignreg_jax.sweep`. Every command
has a --help of its own; that of run, sweep, demo and own lists all fields. `alignreg demo smoke`
takes about a minute. --version says what is installed."""


_DEMO_USAGE = """\
usage: alignreg demo [smoke|plain] [--workdir DIR] [--config.FIELD=VALUE ...]

A run on the bundled data and encoder, on two CPU cores:
  alignreg demo          demo: with a teacher and text in thirty languages, 4 to 7 minutes
  alignreg demo smoke    demo:smoke: the same path in about a minute
  alignreg demo plain    demo:plain: without teacher and text

All fields:"""


_OWN = """
Your own data, FOLDER of <lang>.<train|dev|test>.jsonl with text and label:
  alignreg own FOLDER --workdir runs/mine
  alignreg deploy runs/mine --out served --languages de,fr --max-mb 60
  python served/predict.py "a sentence\""""


_OWN_USAGE = """\
usage: alignreg own FOLDER [--workdir DIR] [--config.FIELD=VALUE ...]

Trains one model for every size on your data. FOLDER has
  en.train.jsonl, en.dev.jsonl   required: rows of {"text": ..., "label": ...}
  de.test.jsonl, ...             a language is evaluated if it has one; English, too
  de.unlabelled.jsonl or .txt    if you have some: the large model teaches the small one on it
What most people set:
  --config.model.name_or_path=intfloat/multilingual-e5-small   a smaller encoder than XLM-R base,
  --config.train.learning_rate=1e-4                            and the rate that suits it
  --config.eval.splits=dev                                     where there is no test data
  --check                                                      reads everything, writes nothing
Then: alignreg deploy DIR --out served --languages de,fr --max-mb 60

All fields (with unlabelled text in FOLDER distill.text=data and pruning.epochs_per_step=4):"""


_REPORT_USAGE = """\
usage: alignreg report RUN [RUN ...] [--out FILE] [--served DIR]

Writes the page of a finished run again and prints where it is; of several runs, one page with all
of them side by side.
  --out FILE     without it RUN/report.html, or of several runs report.html here
  --served DIR   what alignreg deploy has written of the one RUN, if it is not RUN/served"""


_MASK_USAGE = """\
usage: alignreg mask write BASE EXPORT OUT
       alignreg mask apply BASE MASK OUT

A model whose encoder's weights were only left out and none of them trained (train.freeze, as of
method=smp-s) needs no copy of the encoder: write makes of its EXPORT the folder OUT with a mask and
a head, and apply makes the export again, OUT, of that folder, MASK. BASE is the encoder that the
run began with, a folder or Hub id."""


def execute(arguments: Sequence[str]) -> int:
    """Run one of the programs; returns its exit code."""
    arguments = arguments or ["--help"]
    command, *rest = arguments
    if command == "run":
        return main.main(rest)
    if command == "sweep":
        return sweep.main(rest)
    if command == "shrink":
        return shrink.main(rest)
    if command == "trim":
        return trim.main(rest)
    if command == "deploy":
        return deploy.main(rest)
    if command == "probe":
        return probe.main(rest)
    if command == "demo":
        arg = f":{rest.pop(0)}" if rest and not rest[0].startswith("-") else ""
        if flags.HELP & set(rest):
            terminal.show(_DEMO_USAGE)
        code = main.main(["--config", f"{config_folder() / 'demo.py'}{arg}", *rest])
        if not code and not flags.HELP & set(rest):
            terminal.show(_OWN)
        return code
    if command == "own":
        return _own(rest)
    if command == "report":
        return flags.execute(rest, lambda: _REPORT_USAGE, _report, "report.html is as it was")
    if command == "push":
        return push.main(rest)
    if command == "mask":
        return flags.execute(rest, lambda: _MASK_USAGE, _mask, flags.NOTHING_WRITTEN)
    if flags.config_name(arguments):  # as before there were commands
        return main.main(arguments)
    return flags.execute(arguments, lambda: _USAGE, _unknown)


def _own(arguments: Sequence[str]) -> int:
    config = str(config_folder() / "own.py")
    if flags.HELP & set(arguments):
        terminal.show(_OWN_USAGE)
        return main.main(["--config", config, "--help"])
    folder = "" if not arguments or arguments[0].startswith("-") else arguments[0]
    if not folder or not Path(os.path.expanduser(folder)).is_dir():
        return flags.execute([folder], lambda: _OWN_USAGE, _no_folder)
    return main.main(["--config", f"{config}:{folder}", *arguments[1:]])


def _no_folder(arguments: Sequence[str]) -> int:
    what = f" {arguments[0]}: no such folder" if arguments[0] else ": FOLDER is missing"
    if os.path.exists(os.path.expanduser(arguments[0])):
        what = f" {arguments[0]}: is a file, not a folder"
    raise UserError(f"alignreg own{what}; --help says what is in it")


def config_folder() -> Path:
    """Where the configs are: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _report(arguments: Sequence[str]) -> int:
    from alignreg_jax.reporting.side_by_side import report  # its drawings take a second

    parser = flags.Parser("alignreg report")
    parser.add_argument("runs", nargs="+", metavar="RUN")
    for name in ("--out", "--served"):
        parser.add_argument(name, type=lambda text: Path(os.path.expanduser(text)))
    values = parser.parse_args(arguments)
    folders = [Path(os.path.expanduser(run)) for run in values.runs]
    for folder in folders:
        _check_finished(folder)
    terminal.show(str(report(folders, values.out, values.served)))
    return 0


def _check_finished(folder: Path) -> None:
    if (folder / "results.json").exists() or not (folder / "config.json").exists():
        return
    from alignreg_jax.run.places import is_run

    if is_run(folder):
        raise UserError(f"{folder}: the run is not finished; the command that made it continues it")


def _mask(arguments: Sequence[str]) -> int:
    verb, *places = arguments or [""]
    if verb not in ("write", "apply") or len(places) != 3:
        raise UserError(
            "alignreg mask: should be alignreg mask write BASE EXPORT OUT, or alignreg mask apply"
            " BASE MASK OUT"
        )
    source, out = Path(os.path.expanduser(places[1])), flags.new_folder(places[2])
    from alignreg_jax.run import mask_artefact  # it needs JAX, and --help does not
    from alignreg_jax.run.places import model

    base = mask_artefact.Base.load(model(places[0], "BASE"))
    if verb == "apply":
        mask_artefact.write_model(out, base, mask_artefact.read(source))
        terminal.show(str(out))
        return 0
    artefact = mask_artefact.difference(base, source)
    sizes = mask_artefact.write(out, artefact)
    whole = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    terminal.show(
        f"{out}: mask {sizes.mask:,} bytes ({artefact.kept / artefact.prunable:.1%} of"
        f" {artefact.prunable:,} weights), head {sizes.head:,}, all files {sizes.total:,};"
        f" weights of the full export {whole:,}"
    )
    return 0


def _unknown(arguments: Sequence[str]) -> int:
    raise UserError(
        f"alignreg {arguments[0]}: choose one of run, sweep, demo, own, shrink, trim, deploy,"
        " probe, report, push, mask; --help says more"
    )


def run() -> None:
    """Entry point of the `alignreg` command."""
    sys.exit(execute(sys.argv[1:]))
