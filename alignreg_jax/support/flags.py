"""What the command lines of all programs share: --config and its fields, mistakes, exit codes."""

import argparse
import difflib
import logging
import os
import platform
import re
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from absl import flags as absl_flags
from ml_collections import config_flags
from ml_collections.config_flags import tuple_parser

from alignreg_jax.errors import CONTINUES, NonFiniteLoss, UserError, lines_of, storage_trouble
from alignreg_jax.support import terminal
from alignreg_jax.support.termination import Terminated, termination


def words(text: str) -> tuple[str, ...]:
    """The words of a list: `de, is`, `("de", "is")` and `[de,is]` are the same two.

    Any word may stand there, Python's own included; a comma in parentheses is part of its word.
    """
    text = text.strip()
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1]
    return tuple(word for part in listed(text) if (word := part.strip("\"'").strip()))


def listed(text: str) -> list[str]:
    """What stands between commas; one in parentheses is part of its word."""
    return [part for each in re.split(r",(?![^(]*\))", text) if (part := each.strip())]


class _Words(tuple_parser.TupleParser):
    """Of tuples. The library's own reads a Python literal, where `en,is` is a syntax error."""

    def parse(self, argument: Any) -> tuple[Any, ...]:
        given = [argument] if isinstance(argument, str) else argument or ()
        return tuple(
            word for item in given for word in (words(item) if isinstance(item, str) else (item,))
        )


class _Integer(absl_flags.IntegerParser):
    def parse(self, argument: Any) -> int | None:
        try:
            return None if argument == "None" else super().parse(argument)
        except ValueError:
            raise ValueError("should be a whole number") from None


class _Float(absl_flags.FloatParser):
    def parse(self, argument: Any) -> float | None:
        try:
            return None if argument == "None" else super().parse(argument)
        except ValueError:
            raise ValueError("should be a number") from None


for _kind, _parser in ((tuple, _Words()), (int, _Integer()), (float, _Float())):
    config_flags.register_flag_parser_for_type(_kind, _parser)


class Parser(argparse.ArgumentParser):
    """Of a command without --config; any mistake is a UserError that names the command."""

    def __init__(self, command: str):
        """`command` is what the user types, such as "alignreg shrink"."""
        super().__init__(command, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process."""
        raise UserError(f"{self.prog}: {message}; --help says more")


HELP = frozenset(("--help", "-h", "--helpfull"))


def without_help(arguments: Sequence[str]) -> list[str]:
    """The other arguments."""
    return [argument for argument in arguments if argument not in HELP]


NOTHING_WRITTEN = "nothing was written"


def without(arguments: Sequence[str], name: str) -> list[str]:
    """The arguments but for one flag, with its value in the same word or the next."""
    before = ["", *arguments]
    return [
        argument
        for argument, last in zip(arguments, before, strict=False)
        if not re.match(rf"--?{name}(=|$)", argument) and not re.fullmatch(rf"--?{name}", last)
    ]


def new_folder(text: str) -> Path:
    """A folder that a command is to write.

    Raises:
        UserError: it is there, or cannot be.
    """
    out = Path(os.path.expanduser(text))
    try:
        str(out.absolute()).encode()
    except UnicodeEncodeError:
        raise UserError(f"{text!r}: the path is not UTF-8; give another") from None
    above = next(path for path in out.absolute().parents if path.exists())
    if not above.is_dir():
        raise UserError(f"{out}: {above} is a file; give a folder in a folder")
    longest = os.statvfs(above).f_namemax
    if any(len(os.fsencode(name)) > longest for name in out.parts):
        raise UserError(f"{out}: a name in it is longer than {longest} bytes; give another")
    if os.path.lexists(out):  # also a link that leads nowhere
        raise UserError(f"{out}: is there already; give a folder that is not")
    return out


def execute(
    arguments: Sequence[str],
    usage: Callable[[], str],
    work: Callable[[Sequence[str]], int],
    after: str = f"{CONTINUES} from the last checkpoint",
) -> int:
    """Do the work of a program, or print its usage if --help asks for it; returns the exit code.

    That of `work`, or 2 the user's error, 3 a loss that is not finite, 130 interrupted, 143
    terminated; each of these with one line on standard error. 141: nobody reads standard error.

    Args:
        arguments: of the command line.
        usage: gives what --help prints.
        work: does it; its result is the exit code.
        after: what is left when it was stopped.
    """
    terminal.tolerate()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("absl", "jax", "orbax", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # Orbax's threads tell there, in hundreds of lines, what they also raise
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        if HELP & set(arguments):
            terminal.show(usage())
            return 0
        if "--version" in arguments:
            terminal.show(_version())
            return 0
        with termination.handled():
            return work(arguments)
    except UserError as error:
        for line in lines_of(error):
            print("error:", _as_it_is(line, after), file=sys.stderr)
        return 2
    except NonFiniteLoss as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"interrupted; {after}", file=sys.stderr)
        return 130
    except Terminated:
        print(f"terminated; {after}", file=sys.stderr)
        return 143
    except BrokenPipeError:
        terminal.silence()
        return 141
    except OSError as error:  # of a file whose writer does not say what it is for
        line = storage_trouble(error, error.filename or "a file that cannot be named")
        if line is None:
            raise
        print("error:", _as_it_is(one_line(UserError(line)), after), file=sys.stderr)
        return 2


def _as_it_is(line: str, after: str) -> str:
    """A line on a disk, of a program that goes on from nothing when it is started again."""
    return line if CONTINUES in after else line.replace(CONTINUES, "run it again")


def _version() -> str:
    def of(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "(not installed)"

    python = platform.python_version()
    return f"alignreg_jax {of('alignreg_jax')}, jax {of('jax')}, Python {python}"


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split("\n"))


def parse(
    arguments: Sequence[str],
    *,
    program: str,
    example: str,
    fields: Callable[[], Collection[str]],
    define: Callable[[absl_flags.FlagValues], object] = lambda values: None,
) -> absl_flags.FlagValues:
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
    if path.is_dir():
        raise UserError(f"--config: {path} is a folder; give a file, for example {example}")
    if not path.is_file():
        raise UserError(f"--config: no such file: {path}")
    _check_fields(arguments, fields)
    values = absl_flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=[program, *arguments])
    absl_flags.DEFINE_string("workdir", None, "where the run is kept", flag_values=values)
    define(values)
    try:
        rest = values([program, *arguments])[1:]
        getattr(values.config, "method", None)  # where the library keeps a missing file for later
    except UserError:
        raise
    except absl_flags.Error as error:
        raise UserError(str(error)) from error
    except Exception as error:  # a config file is the user's program, and may raise anything
        cause = error.__cause__ or error
        raise UserError(f"{_place(cause, path)}: {type(cause).__name__}: {cause}") from error
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}; flags look like --name=value")
    if values.workdir is not None:
        values.workdir = _expanded(values.workdir)
    return values


def _expanded(workdir: str) -> str:
    """A folder behind `~`; a shell leaves that to us in `--workdir=~/runs`."""
    found = os.path.expanduser(workdir)
    if found.startswith("~"):
        raise UserError(f"--workdir={workdir}: there is no such home; ./{workdir} is a folder here")
    if not found:
        raise UserError("--workdir= is empty; give a folder")
    return found


def given(values: absl_flags.FlagValues) -> set[str]:
    """The fields that a command line sets by itself, `parse`d before."""
    return set(config_flags.get_override_values(values["config"]))


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
    values = absl_flags.FlagValues()
    program = ["override", *arguments]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=program)
    try:
        values(program)
    except absl_flags.Error as error:
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
