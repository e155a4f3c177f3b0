"""The programs as functions: `alignreg_jax.run`, `sweep`, `shrink`, `trim`, `deploy`, `probe`.

They do what the commands do and keep to the same files, so that a run begun here goes on by command
and the reverse. A mistake raises `UserError` (alignreg_jax.errors), whose text is one line.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from alignreg_jax.config import ExperimentConfig, resolve
from alignreg_jax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from alignreg_jax.compress.account import Report
    from alignreg_jax.compress.deployment.deploy import Deployed
    from alignreg_jax.compress.trim import Trimmed

PathLike = str | Path


def run(
    config: ConfigDict | ExperimentConfig, workdir: PathLike
) -> dict[str, Any] | list[dict[str, Any]]:
    """Fine-tune, prune, evaluate and export, or continue what was stopped.

    Args:
        config: of `alignreg_jax.config.default_config()`, `demo_config()` or `paper_config()`, with
            fields changed; or resolved.
        workdir: where the run is kept.

    Returns:
        What results.json holds; of several seeds (`config.seeds`) a list of these, and each is in
        workdir/s<seed>.

    Raises:
        UserError: a field or input is wrong, or workdir holds another run.
        NonFiniteLoss: training diverged.
    """
    started = time.monotonic()
    from alignreg_jax.run import launch
    from alignreg_jax.support import runtime

    resolved = config if isinstance(config, ExperimentConfig) else resolve(config)
    folders = launch.folders_of(resolved, Path(workdir).expanduser())
    runtime.prepare()
    command = f"alignreg_jax.run(config, {str(workdir)!r})"
    found = launch.run(replace(resolved, seeds=1), folders, command, started)
    return found[0] if resolved.seeds == 1 else found


def sweep(config: ConfigDict, workdir: PathLike) -> "pd.DataFrame":
    """Every method on every task with every seed, or what is left of that, and the table.

    Args:
        config: of `alignreg_jax.sweeping.starts.default_config()` or `demo_config()`.
        workdir: where the runs are kept, and table.html, .md, .tex and .csv.

    Returns:
        results.csv: a row for every score.

    Raises:
        UserError: a field or input is wrong, workdir holds another sweep, or a run has failed.
    """
    import pandas as pd

    from alignreg_jax.sweeping import config as sweeps
    from alignreg_jax.sweeping import whole
    from alignreg_jax.sweeping.folder import Folder
    from alignreg_jax.sweeping.plan import plan

    checked = sweeps.resolve(config)
    planned, folder = plan(checked), Folder(Path(workdir).expanduser())
    folder.check(checked)
    command = f"alignreg_jax.sweep(config, {str(workdir)!r})"
    failed, _ = whole.carry_out(checked, planned, planned, folder, command, folder.path.name)
    if failed:
        names = ", ".join(each.name for each in failed)
        raise UserError(f"failed: {names}; why is in {folder.path / 'failed'}")
    return pd.read_csv(folder.path / "results.csv")


def shrink(export: PathLike, out: PathLike, **options: Any) -> "Report":
    """Write the model without its empty heads and units, or a size of one that has several.

    Args:
        export: folder or Hub id of a model.
        out: the new folder.
        **options: as of `alignreg shrink --help`: `size=0.5`, `max_mb=40`, `form="free"`.

    Returns:
        How large it was and is, and how far their answers are apart.

    Raises:
        UserError: as the command.
    """
    from alignreg_jax import shrink as program

    return program.written([str(export), str(out), *_flags(options)])[1]


def trim(model: PathLike, out: PathLike, **options: Any) -> "Trimmed":
    """Write the model with fewer pieces.

    Args:
        model: folder or Hub id.
        out: the new folder.
        **options: as of `alignreg trim --help`: `languages=("de", "fr")`, `tokens=32_000`,
            `text=("mails.txt",)`.

    Returns:
        What each language lost.

    Raises:
        UserError: as the command.
    """
    from alignreg_jax import trim as program

    return program.written([str(model), "--out", str(out), *_flags(options)])[1]


def deploy(run: PathLike, out: PathLike, **options: Any) -> "Deployed":
    """Write the model as ONNX in eight bits, behind a gate for every language.

    Args:
        run: workdir of a run, or folder or Hub id of a model with a head (then with `data=`).
        out: the new folder.
        **options: as of `alignreg deploy --help`: `max_mb=30`, `quantize="int8"`, `mixed=True`.

    Returns:
        What was tried and measured; `passed` says whether a smaller form passed the gate.

    Raises:
        UserError: as the command.
    """
    from alignreg_jax import deploy as program

    return program.written([str(run), "--out", str(out), *_flags(options)])[1]


def probe(
    models: PathLike | Sequence[PathLike],
    text: PathLike | Sequence[PathLike],
    out: PathLike,
    **options: Any,
) -> "pd.DataFrame":
    """Say how alike languages are inside models, layer by layer, and how alike to the first one.

    Args:
        models: folders, Hub ids or runs.
        text: files of sentences in parallel, `en.txt`, `de.txt` and so on.
        out: the new folder, for the table and a figure.
        **options: as of `alignreg probe --help`: `rows=100`, `pivot="de"`.

    Returns:
        A row for every model, language, layer and measure.

    Raises:
        UserError: as the command.
    """
    from alignreg_jax import probe as program

    given = [models] if isinstance(models, PathLike) else models
    return program.written(
        [*map(str, given), "--out", str(out), *_flags({"text": text, **options})]
    )[1]


def _flags(options: Mapping[str, Any]) -> list[str]:
    """Keywords as a command line has them: True is a flag alone, None and False are none."""
    found: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            found.append(flag)
        elif name == "text":  # several files, and commas may be in their names
            found += [flag, *map(str, [value] if isinstance(value, PathLike) else value)]
        elif isinstance(value, Iterable) and not isinstance(value, str):
            found.append(f"{flag}={','.join(map(str, value))}")
        else:
            found.append(f"{flag}={value}")
    return found
