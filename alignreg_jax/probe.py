"""How alike languages, and models, are inside: what pruning did to every layer.

`python -m alignreg_jax.probe MODEL [MODEL ...] --text FILE FILE ... --out DIR`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignreg_jax.support import flags, terminal
from alignreg_jax.support.callable_module import make_callable
from alignreg_jax.support.files import atomic_write, whole_folder

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 200
_USAGE = f"""\
usage: alignreg probe MODEL [MODEL ...] --text FILE FILE [...] --out DIR
                      [--rows N] [--pivot LANGUAGE]

Says how alike languages are inside every MODEL, layer by layer, and how alike each is to the first
one: folders, Hub ids, or runs, whose steps they have if they were made with --config.export=steps.
  --text FILE ...     sentences in parallel: en.txt, de.txt, ... where line i of each is the
                      translation of line i of the others; or .jsonl with text or tokens, whose
                      rows are matched by their id if they have one
  --rows N            so many of them, in a fixed draw ({_ROWS})
  --pivot LANGUAGE    whom the others are compared with (en)

Writes DIR/probe.csv with every number and DIR/probe.png, and prints their means. CKA (linear, not
biased by few rows) is 1 where two sides tell the same sentences apart and about 0 where they have
nothing in common; retrieval is the share of sentences whose nearest one in the other language is
their translation, also with every dimension standardized in each language."""


make_callable(__name__)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, look into the models, say what was found; the exit code."""
    return flags.execute(arguments, lambda: _USAGE, _run, flags.NOTHING_WRITTEN)


def _run(arguments: Sequence[str]) -> int:
    from alignreg_jax.compress import probing

    out, measured = written(arguments)
    terminal.show("\n".join([*probing.lines_of(measured), str(out)]))
    return 0


def written(arguments: Sequence[str]) -> "tuple[Path, pd.DataFrame]":
    """Write what is alike; its folder, and the table in it.

    Raises:
        UserError: any mistake in the command line, the models or the texts.
    """
    values = _parse(arguments)
    from alignreg_jax.compress import probing
    from alignreg_jax.reporting import figures, svg

    out = flags.new_folder(values.out)
    splits = probing.read(values.text, values.rows, values.pivot)
    measured = probing.table(probing.models(values.models), splits, values.pivot)
    with whole_folder(out, new=True) as partial:
        atomic_write(partial / "probe.csv", measured.to_csv(index=False))
        atomic_write(partial / "probe.png", svg.png(figures.layers(measured)))
    return out, measured


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; UserError for any mistake."""
    parser = flags.Parser("alignreg probe")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--text", nargs="+", action="extend", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--pivot", default="en")
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
