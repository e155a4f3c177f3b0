"""A smaller vocabulary: the pieces that some texts and languages need, and their answers unchanged.

`python -m alignreg_jax.trim MODEL --out DIR [--languages de,fr] [--text FILES] [...]`
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
    from alignreg_jax.compress.trim import Trimmed

_USAGE = """\
usage: alignreg trim MODEL --out DIR [--text FILE ...] [--languages de,fr [--word-lists FOLDER]]
                     [--tokens N | --max-mb MB | --coverage .999] [--multiple 64]

Writes the model of the folder (or Hub id) MODEL to DIR with fewer pieces. The word embedding is two
thirds of XLM-R base; what is kept keeps its numbers, so that a text whose pieces all stay gets the
same answers to the bit. Before or after fine-tuning, with any head.
  --text FILE ...       texts that keep all their pieces: .txt with one a line, or .jsonl with text,
                        text_pair or tokens
  --languages de,fr     the most frequent pieces of these languages, and of English, by lists of
                        words of the package wordfreq (pip install 'alignreg_jax[vocabulary]')
  --word-lists FOLDER   ... or by <language>.txt, a word a line, the most frequent first
  --tokens N            how many pieces
  --max-mb MB           as many as fit, all weights in float32
  --coverage SHARE      as many as this share of each language's running pieces takes (.999)
  --multiple N          a number of pieces that is a multiple of N

Says for each language how many more pieces a text has, what is unknown, and how many texts are as
they were."""


make_callable(__name__)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, write the smaller model, say what was lost; the exit code."""
    return flags.execute(arguments, lambda: _USAGE, _run, flags.NOTHING_WRITTEN)


def _run(arguments: Sequence[str]) -> int:
    from alignreg_jax.compress import trim

    out, done = written(arguments)
    terminal.show("\n".join([*trim.lines(done), str(out)]))
    return 0


def written(arguments: Sequence[str]) -> "tuple[Path, Trimmed]":
    """Write the model with fewer pieces; its folder, and what each language lost.

    Raises:
        UserError: any mistake in the command line, the model, or what is asked of it.
    """
    values = _parse(arguments)
    from alignreg_jax.compress import trim, word_lists
    from alignreg_jax.run import places

    out = flags.new_folder(values.out)
    names = [name.strip() for name in (values.languages or "").split(",") if name.strip()]
    languages = list(dict.fromkeys(["en", *names])) if names else []
    lists = Path(os.path.expanduser(values.word_lists)) if values.word_lists else None
    wanted = trim.Wanted(
        word_lists.of_files(values.text),
        word_lists.words(languages, lists),
        values.tokens,
        values.max_mb,
        0.999 if values.coverage is None else values.coverage,
        values.multiple,
    )
    return out, trim.trim(places.model(values.model, "MODEL"), out, wanted)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; UserError for any mistake."""
    parser = flags.Parser("alignreg trim")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--out", required=True)
    parser.add_argument("--text", nargs="+", default=[])
    parser.add_argument("--languages")
    parser.add_argument("--word-lists")
    parser.add_argument("--multiple", type=int, default=1)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--tokens", type=int)
    group.add_argument("--max-mb", type=float)
    group.add_argument("--coverage", type=float)
    values = parser.parse_args(list(arguments))
    if not values.text and not (values.languages or "").strip(", "):
        raise UserError("alignreg trim: give --languages, --text or both: what is to stay")
    if values.word_lists and not values.languages:
        raise UserError("--word-lists is for --languages; name them")
    if values.coverage is not None and not values.languages:
        raise UserError("--coverage is of --languages; texts keep all their pieces")
    if values.coverage is not None and not 0 < values.coverage <= 1:
        raise UserError(f"--coverage={values.coverage:g}: should be above 0 and at most 1")
    for name in ("tokens", "multiple", "max_mb"):
        value = getattr(values, name)
        if value is not None and not value > 0:
            raise UserError(f"--{name.replace('_', '-')}={value:g}: should be above 0")
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
