"""What the command lines of all programs share: --config and its fields, mistakes, exit codes."""

import difflib
import logging
import re
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from alignreg_jax.errors import NonFiniteLoss, UserError
from alignreg_jax.termination import Terminated, termination


def execute(
    arguments: Sequence[str], usage: Callable[[], str], work: Callable[[Sequence[str]], int]
) -> int:
    """Do the work of a program, or print its usage if --help asks for it; returns the exit code.

    That of `work`, or 2 the user's error, 3 a loss that is not finite, 130 interrupted, 143
    terminated; each of these with one line on standard error.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("absl", "jax", "orbax", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if {"--help", "-h", "--helpfull"} & set(arguments):
        print(usage())
        return 0
    try:
        with termination.handled():
            return work(arguments)
    except UserError as error:
        print("error:", one_line(error), file=sys.stderr)
        return 2
    except NonFiniteLoss as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    except Terminated:
        print("terminated; the same command continues from the last checkpoint", file=sys.stderr)
        return 143


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split("\n"))


def parse(
    arguments: Sequence[str],
    *,
    program: str,
    example: str,
    fields: Callable[[], Collection[str]],
    define: Callable[[flags.FlagValues], object] = lambda values: None,
) -> flags.FlagValues:
    """Read a command line: `config`, a ConfigDict, `workdir`, and what `define` adds.

    Args:
        arguments: without the program's name.
        program: its name, "alignreg_jax.main".
        example: a config file, for the message when there is none.
        fields: gives the paths that may follow "--config."; called only if one does.
        define: defines the flags that only this program has.

    Raises:
        UserError: any mistake, also inside the config file.
    """
    path = Path(config_name(arguments).partition(":")[0])
    if not path.name:
        raise UserError(f"--config is needed, for example --config {example}")
    if not path.is_file():
        raise UserError(f"--config: no such file: {path}")
    _check_fields(arguments, fields)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=[program, *arguments])
    flags.DEFINE_string("workdir", None, "where the run is kept", flag_values=values)
    define(values)
    try:
        rest = values([program, *arguments])[1:]
        getattr(values.config, "method", None)  # where the library keeps a missing file for later
    except UserError:
        raise
    except flags.Error as error:
        raise UserError(str(error)) from error
    except Exception as error:  # a config file is the user's program, and may raise anything
        cause = error.__cause__ or error
        raise UserError(f"{_place(cause, path)}: {type(cause).__name__}: {cause}") from error
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}; flags look like --name=value")
    return values


def override(config: Any, assignments: Sequence[str], fields: Collection[str]) -> None:
    """Do "train.batch_size=8" and the like to a ConfigDict, as flags would.

    Raises:
        UserError: a field that is not among `fields`, or a value that its type does not take.
    """
    if not assignments:
        return
    arguments = [f"--config.{assignment}" for assignment in assignments]
    for assignment, argument in zip(assignments, arguments, strict=True):
        if "=" not in assignment:
            raise UserError(f"{assignment!r} should be FIELD=VALUE")
        _check_fields([argument], lambda: fields, shown=len("--config."))
    values = flags.FlagValues()
    program = ["override", *arguments]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=program)
    try:
        values(program)
    except flags.Error as error:
        raise UserError(one_line(error).replace("flag --config.", "")) from error


def config_name(arguments: Sequence[str]) -> str:
    """What --config was given, or nothing."""
    for argument, following in pairwise([*arguments, ""]):
        match = re.fullmatch(r"--?config(?:=(.*))?", argument)
        if match:
            return following if match[1] is None else match[1]
    return ""


def config_title(arguments: Sequence[str]) -> str:
    """The config file's name as part of a folder's name: "demo-smoke" for configs/demo.py:smoke."""
    return re.sub(r"[^\w.-]+", "-", Path(config_name(arguments)).name.replace(".py", ""))


def _check_fields(
    arguments: Sequence[str], fields: Callable[[], Collection[str]], shown: int = 0
) -> None:
    """Name a field that does not exist; of those the flags library only says KeyError.

    `shown` is where the part of an argument begins that the message repeats.
    """
    for argument in arguments:
        flag = argument.partition("=")[0]
        match = re.fullmatch(r"--?(?:no)?config\.(.*)", flag)
        if match and match[1] not in (known := list(fields())):
            near = difflib.get_close_matches(match[1], known, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; --help lists the fields"
            raise UserError(f"{flag[shown:]}: there is no such field{hint}")


def _place(error: BaseException, path: Path) -> str:
    """File and line of the config file where the error came up."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    return f"{path}:{lines[-1]}" if lines else f"--config={path}"
