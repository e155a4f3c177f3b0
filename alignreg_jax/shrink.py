"""A physically smaller model: without attention heads and feed-forward units that are empty.

`python -m alignreg_jax.shrink EXPORT OUT [--form stock|free] [--align N]`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignreg_jax.errors import UserError
from alignreg_jax.support import flags, terminal
from alignreg_jax.support.callable_module import make_callable

if TYPE_CHECKING:
    from alignreg_jax.compress.account import Report
    from alignreg_jax.compress.budgets import Budget, Kind

_BUDGETS: tuple["Kind", ...] = ("size", "parameters", "macs", "max-mb", "latency-ms")
_USAGE = """\
usage: alignreg shrink EXPORT OUT [--form stock|free] [--align N]
                       [--size S | --parameters N | --macs N | --max-mb MB | --latency-ms MS]

Writes the model of the folder (or Hub id) EXPORT to OUT without its empty attention heads and
feed-forward units: those whose output weights are all zero, and those that only add a constant,
which a bias takes over. Logits are compared before; they may differ by rounding only.
  --form stock   (default) what unmodified transformers loads: all heads, and one feed-forward width
                 for all layers, that of the widest
  --form free    as small as it gets: every layer has its own sizes; transformers needs
                 trust_remote_code=True
  --align N      the stock form's feed-forward width is a multiple of N (8)

Of a model that serves every size (method=elastic), one of:
  --size S         the share of the encoder's weights, such as 0.5
  --parameters N   the largest with at most N parameters, such as 42e6
  --macs N         with at most N multiplications in the encoder, for one text of 128 pieces
  --max-mb MB      with at most MB megabytes of weights, in float32
  --latency-ms MS  that takes at most MS milliseconds for one text of 128 pieces; measured here"""


make_callable(__name__)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, write the smaller model, say how large it is; the exit code."""
    return flags.execute(arguments, lambda: _USAGE, _run, flags.NOTHING_WRITTEN)


def _run(arguments: Sequence[str]) -> int:
    from alignreg_jax.compress import account

    out, report = written(arguments)
    terminal.show("\n".join([*account.lines(report), str(out)]))
    return 0


def written(arguments: Sequence[str]) -> "tuple[Path, Report]":
    """Write the smaller model; its folder, and how large it is.

    Raises:
        UserError: any mistake in the command line, the model, or what is asked of it.
    """
    values = _parse(arguments)
    from alignreg_jax.compress import forms
    from alignreg_jax.compress.shrink import shrink
    from alignreg_jax.run import places

    out = flags.new_folder(values.out)
    folder = places.model(values.export, "EXPORT")
    return out, shrink(folder, out, values.form, values.align or forms.ALIGN, _budget(values))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; UserError for any mistake."""
    parser = flags.Parser("alignreg shrink")
    parser.add_argument("export", metavar="EXPORT")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--form", choices=("stock", "free"), default="stock")
    parser.add_argument("--align", type=int)
    group = parser.add_mutually_exclusive_group()
    for kind in _BUDGETS:
        group.add_argument(f"--{kind}", type=float)
    values = parser.parse_args(list(arguments))
    if values.align is not None and values.align < 1:
        raise UserError(f"--align={values.align}: should be at least 1")
    if values.align and values.form == "free":
        raise UserError("--align is for --form stock; the free form has every layer's own width")
    return values


def _budget(values: argparse.Namespace) -> "Budget | None":
    """How large the model may be; None where that was not asked."""
    from alignreg_jax.compress.budgets import Budget

    given: dict[Kind, float | None] = {
        kind: getattr(values, kind.replace("-", "_")) for kind in _BUDGETS
    }
    return next((Budget(kind, value) for kind, value in given.items() if value is not None), None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
