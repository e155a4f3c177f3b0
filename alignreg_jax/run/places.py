"""Which folder the name of a model means: one that is here, the bundled encoder, or the Hub's."""

import logging
import os
from pathlib import Path

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.models.architecture import CONFIG, read_json
from alignreg_jax.reporting.results import seed_folders

log = logging.getLogger(__name__)

_DEMO = "demo"
_PATHS = ("/", "./", "../", "~")  # what no Hub id begins with


def encoder(name: str, field: str = "model.name_or_path") -> Path:
    """As `checkpoints.resolve`, and short about what can only be a path, or is not to be fetched.

    Raises:
        UserError: there is no such model, or it is a run, whose model is a folder in it.
    """
    path, given = Path(os.path.expanduser(name)), f"{field}={name}"
    if name == _DEMO:
        return checkpoints.resolve(name, field)
    if os.path.isdir(path):
        _check_no_run(path, given)
        return path
    if os.path.exists(path):
        raise UserError(f"{given}: is a file; give the folder of a model")
    if name.startswith(_PATHS):
        raise UserError(f"{given}: no such folder")
    try:
        return checkpoints.resolve(name, field)
    except UserError as error:
        from huggingface_hub import constants  # read for Hub ids alone
        from huggingface_hub.errors import LocalEntryNotFoundError

        if constants.HF_HUB_OFFLINE and isinstance(error.__cause__, LocalEntryNotFoundError):
            raise UserError(
                f"{given}: no such folder, and not in the Hub's cache; HF_HUB_OFFLINE is set"
            ) from error
        raise


def model(place: str, field: str) -> Path:
    """As `encoder`, for what a command is given: a folder here comes before the bundled encoder.

    A run's config file says demo and means the bundled one, wherever it is started; who types it
    for a command stands beside a folder of that name, if there is one.
    """
    if place == _DEMO and os.path.isdir(place):
        log.info("demo is the folder ./demo here, not the bundled encoder")
        place = f"./{_DEMO}"
    return encoder(place, field)


def is_run(folder: Path) -> bool:
    """Whether a folder is the workdir of a run, finished or not."""
    path = folder / CONFIG
    if not path.is_file():
        return False
    found = read_json(path)
    return isinstance(found.get("config"), dict) and "model_type" not in found


def _check_no_run(folder: Path, given: str) -> None:
    if is_run(folder):
        inside = folder / "export"
        where = f"its model is {inside}" if inside.is_dir() else f"it has no model yet ({inside})"
        raise UserError(f"{given}: is a run; {where}")
    if (folder / CONFIG).exists():
        return
    if seeds := seed_folders(folder):
        raise UserError(
            f"{given}: has a run for each seed; the model of one is {folder / seeds[0] / 'export'}"
        )
