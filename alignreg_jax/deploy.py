"""A model as it is served: ONNX in eight bits, fewer pieces, and a gate for every language.

`python -m alignreg_jax.deploy RUN --out DIR [...]`
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignreg_jax.errors import UserError
from alignreg_jax.support import flags, terminal
from alignreg_jax.support.callable_module import make_callable

if TYPE_CHECKING:
    from alignreg_jax.compress.deployment.deploy import Deployed
    from alignreg_jax.compress.served import Served

_FLIPS_OF_FOUR_BITS = 5  # below it a gate refuses them

_USAGE = """\
usage: alignreg deploy RUN --out DIR [--data FOLDER] [--languages de,fr] [...]

Writes the model of RUN, a run's workdir or the folder (or Hub id) of a model, to DIR as ONNX, in
float32 and in the fastest smaller form in which no language's answers change by more than a little.
Of a model without a head, one for sentence vectors, an answer is which of the other texts a text is
most like. DIR has what transformers.js, optimum and onnxruntime look for, a card, and predict.py,
which needs onnxruntime, tokenizers and numpy alone.
  --data FOLDER        rows to compare on, <language>.test.jsonl, labelled or not (a run has some)
  --rows N             of a language, at most (200)
  --languages de,fr    those to serve, beside English; also the pieces to keep, if fewer are wanted

What is cut; nothing, if not asked:
  --tokens N           as many pieces: those of training texts, and the most frequent of --languages
  --coverage SHARE     or as many as this share of each language's running pieces takes
  --text FILE ...      texts that keep all their pieces
  --word-lists FOLDER  words of languages, <language>.txt, instead of the package wordfreq
  --size S             of a model that serves every size (method=elastic), the share of its encoder

What it may cost; the best for the worst language inside of it is searched for:
  --max-mb MB          of the file and its tokenizer: over sizes, pieces (of --languages), and forms
                       (of a size of which no other fits int4, too, if --max-flips is 5 or more)
  --max-ms MS          for one text of 64 pieces on this machine

How it is stored:
  --quantize KIND      auto (default), int8, int8-fine, q8, fp16 or none; int4: some 60 % of int8's
                       bytes and as fast, but it changes more answers
  --max-flips PERCENT  answers of a language that may surely be others (2)
  --mixed              parts that eight bits harm most stay in float32 until all languages pass (of
                       int4: in eight bits)
  --portable           int8 with weights of seven bits, for programs on processors without VNNI that
                       cannot set session.x64quantprecision, as predict.py does
  --fused              attention is one operator: mostly 3 to 12 % faster, for readers of opset 23
  --threads N          of the times that are measured (1)

Exit code 3 if no smaller form passes; DIR then has the float model."""


make_callable(__name__)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, write the folder, say what was lost; the exit code."""
    return flags.execute(arguments, lambda: _USAGE, _run, flags.NOTHING_WRITTEN)


def _run(arguments: Sequence[str]) -> int:
    out, done, tried = written(arguments)
    from alignreg_jax.compress.deployment import account

    terminal.show("\n".join([*tried, *account.lines(done, str(out))]))
    return 0 if done.passed else 3


def written(arguments: Sequence[str]) -> "tuple[Path, Deployed, Sequence[str]]":
    """Write the folder that is served; where, what was measured, and lines on what a search tried.

    Raises:
        UserError: any mistake in the command line, the model, or what is asked of it.
    """
    values = _parse(arguments)
    out = flags.new_folder(values.out)
    _check_installed()
    from alignreg_jax.compress import trim, word_lists
    from alignreg_jax.compress.deployment import account
    from alignreg_jax.compress.deployment.cutting import Cuts
    from alignreg_jax.compress.deployment.deploy import Wanted, deploy
    from alignreg_jax.compress.deployment.searching import Budget, search
    from alignreg_jax.compress.onnx.candidates import KINDS

    names = [name.strip() for name in (values.languages or "").split(",") if name.strip()]
    languages = list(dict.fromkeys(["en", *names])) if names else []
    folder, served = _model(values, languages)
    pieces = None
    budgeted = values.max_mb is not None or values.max_ms is not None
    if values.tokens or values.coverage or values.text or (languages and values.max_mb):
        lists = Path(os.path.expanduser(values.word_lists)) if values.word_lists else None
        texts = word_lists.of_files(values.text)
        own = {"training": served.known_texts()} if served.beside else {}
        pieces = trim.Wanted(
            {**own, **texts},
            word_lists.words(languages, lists, set(served.known) if served.beside else ()),
            values.tokens,
            coverage=0.999 if values.coverage is None else values.coverage,
        )
    wanted = Wanted(
        Cuts(values.size, pieces),
        {"auto": KINDS, "none": ()}.get(values.quantize, (values.quantize,)),
        values.max_flips,
        values.portable,
        values.fused,
        values.mixed,
        values.threads,
    )
    if budgeted:
        budget = Budget(values.max_mb, values.max_ms)
        free = bool(languages) and not (values.tokens or values.coverage)
        lax = values.max_flips >= _FLIPS_OF_FOUR_BITS
        spare = ("int4",) if values.quantize == "auto" and values.max_mb and lax else ()
        found = search(folder, out, served, wanted, budget, free, spare)
        return out, found.done, account.tried(found.trials, budget)
    return out, deploy(folder, out, served, wanted), ()


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        raise UserError(
            "alignreg deploy needs onnx and onnxruntime: pip install 'alignreg_jax[deploy]'"
        ) from None


def _model(values: argparse.Namespace, languages: list[str]) -> tuple[Path, "Served"]:
    """The model's folder, and rows to compare on."""
    from alignreg_jax.compress import folders, pooling, served
    from alignreg_jax.models.architecture import CONFIG
    from alignreg_jax.reporting.results import seed_folders
    from alignreg_jax.run import places, workdir

    run = Path(os.path.expanduser(values.model))
    config = workdir.config_of(run)
    seeds = seed_folders(run)
    if seeds and not (run / CONFIG).exists():
        raise UserError(f"{run}: holds seeds ({', '.join(seeds)}); give one: {run / seeds[0]}")
    folder = run / "export" if config else places.model(values.model, "RUN")
    if config and not folder.is_dir():
        why = (
            "the run is not finished"
            if config.export
            else "it was made with --config.export=False; a new run without that has one"
        )
        raise UserError(f"{run}: has no export; {why}")
    if values.data:
        model = folders.read(folder)
        data, head = Path(os.path.expanduser(values.data)), model.network.head
        how = pooling.read(folder) if head is None else None
        return folder, served.of_folder(
            data, head, model.labels, languages, values.rows, config, how
        )
    if config:
        return folder, served.of_run(run, config, languages, values.rows)
    if not (folder / CONFIG).exists():
        raise UserError(f"{values.model}: is neither a run nor a model: it has no {CONFIG}")
    raise UserError(
        f"{values.model}: is a model and no run, so give --data FOLDER, with"
        " <language>.test.jsonl to compare answers on"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; UserError for any mistake."""
    from alignreg_jax.compress import gate, served

    parser = flags.Parser("alignreg deploy")
    parser.add_argument("model", metavar="RUN")
    parser.add_argument("--out", required=True)
    parser.add_argument("--data")
    parser.add_argument("--languages")
    parser.add_argument("--text", nargs="+", default=[])
    parser.add_argument("--word-lists")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--tokens", type=int)
    group.add_argument("--coverage", type=float)
    parser.add_argument("--size", type=float)
    parser.add_argument(
        "--quantize", choices=("auto", "int8", "int8-fine", "q8", "fp16", "int4", "none"),
        default="auto",
    )  # fmt: skip
    parser.add_argument("--max-flips", type=float, default=gate.MAX_FLIPS)
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--portable", action="store_true")
    parser.add_argument("--fused", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=served.ROWS)
    parser.add_argument("--max-mb", type=float)
    parser.add_argument("--max-ms", type=float)
    values = parser.parse_args(list(arguments))
    if values.word_lists and not values.languages:
        raise UserError("--word-lists is for --languages; name them")
    if values.word_lists and not (values.tokens or values.coverage or values.text or values.max_mb):
        raise UserError("--word-lists: all pieces stay without --tokens, --coverage or --max-mb")
    if values.mixed and (values.max_mb or values.max_ms):
        raise UserError("--mixed is without a budget: parts that stay wide would go beyond it")
    if values.coverage is not None and not values.languages:
        raise UserError("--coverage is of --languages; name them")
    if values.tokens is not None and not (values.languages or values.text):
        raise UserError("--tokens: pieces of which --languages, or of what --text?")
    for name, most in (("coverage", 1.0), ("size", 1.0), ("max_flips", 100.0)):
        value = getattr(values, name)
        if value is not None and not 0 < value <= most:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag}={value:g}: should be above 0 and at most {most:g}")
    for name, least in (("tokens", 1), ("threads", 1), ("rows", 1), ("max_mb", 0), ("max_ms", 0)):
        value = getattr(values, name)
        if value is not None and not (value >= least and value > 0):  # NaN fails too
            flag, bound = name.replace("_", "-"), "at least 1" if least else "above 0"
            raise UserError(f"--{flag}={value:g}: should be {bound}")
    if values.quantize == "none" and (values.max_mb or values.max_ms):
        raise UserError("--quantize=none leaves nothing to search; leave out --max-mb and --max-ms")
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
