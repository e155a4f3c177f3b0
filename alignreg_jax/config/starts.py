"""What a config file begins with: all defaults, the paper's settings, or those of the demo."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from alignreg_jax.config.fields import ExperimentConfig
from alignreg_jax.config.paths import plain_type
from alignreg_jax.data import folders, guess
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError

XGLUE_STRIPPED = ("th", "zh")
"""Languages whose pieces lose the mark of a space in XGLUE's baseline; not all tasks have them."""


def default_config() -> ConfigDict:
    """Every field with its default, as a locked ConfigDict for a config file to change."""
    return _to_config_dict(ExperimentConfig)


def paper_config(task: str, arg: str = "") -> ConfigDict:
    """The paper's settings for a task (section 4), or with `arg="short"` a schedule for a day.

    Batch 32, rate 5e-6, 256 pieces (POS 2e-5 and 128), 10 % of the survivors pruned after every 15
    epochs, 12 times; short: 3 dense epochs, then 1 after every pruning step.
    """
    config: Any = default_config()  # its fields are dynamic
    config.task.name = task
    config.task.source = get_task(task).sources[0]
    config.task.strip_space_marker = XGLUE_STRIPPED
    config.train.batch_size = 32
    config.train.learning_rate = 2e-5 if task == "pos" else 5e-6
    config.pruning.fraction = 0.1
    config.pruning.steps = 12
    config.pruning.epochs_per_step = 15
    if arg == "short":
        config.pruning.first_epochs = 3
        config.pruning.epochs_per_step = 1
    elif arg:
        raise UserError(f"--config: unknown argument :{arg}; there is only :short")
    return config


DEMO_LANGUAGES = ("en", "de", "es", "fr", "ru", "fi", "hi", "ar", "th", "zh-CN")
"""Those of the bundled data that are evaluated where all thirty would take too long."""


def demo_config(task: str = "intents", arg: str = "") -> ConfigDict:
    """The bundled encoder on two CPU cores: 2 epochs dense, 3 cuts to 31 %, an epoch after each.

    `arg="smoke"` is the same path in about a minute: fewer rows, cuts and languages.

    Raises:
        UserError: any other `arg`.
    """
    if arg not in ("", "smoke"):
        raise UserError(f"--config: unknown argument :{arg}; there is only :smoke")
    config: Any = default_config()
    config.method = "frobenius-mbp"
    config.model.name_or_path = "demo"
    config.task.name = task
    config.task.source = "demo"
    config.train.learning_rate = 1e-4
    config.train.warmup_steps = 20
    config.train.freeze = ("embeddings",)
    config.pruning.steps = 3
    config.pruning.final = 0.3138
    config.pruning.first_epochs = 2
    config.pruning.epochs_per_step = 1
    config.eval.splits = ("test",)
    config.eval.every_phase_languages = DEMO_LANGUAGES
    if arg == "smoke":
        config.task.train_examples = 640
        config.pruning.steps = 2
        config.eval.languages = DEMO_LANGUAGES[:4]
        config.eval.every_phase_languages = DEMO_LANGUAGES[:2]
        config.eval.examples = 100
    return config


def own_config(folder: str = "") -> ConfigDict:
    """A folder of yours, trained once for every size; with its text without labels, if it has any.

    Args:
        folder: of `<lang>.<split>.jsonl`; without it, task.data_dir is yet to be set.
    """
    config: Any = default_config()
    config.method = "elastic"
    config.task.name, config.task.source = "folder", "folder"
    config.train.learning_rate = 2e-5
    config.pruning.first_epochs, config.pruning.epochs_per_step = 4, 8
    if folder:
        path = Path(folder).expanduser()
        config.task.data_dir = folder
        if path.is_dir():
            config.task.name = guess.task_of(path)
        if path.is_dir() and folders.has_unlabelled(path):
            config.distill.text = "data"
            config.pruning.epochs_per_step = 4  # each is half text, and twice as long
    return config


def _to_config_dict(section: type) -> ConfigDict:
    config = ConfigDict()
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            config[field.name] = _to_config_dict(typing.cast(type, field.type))
        elif field.default is None:  # a plain None could not be set from the command line
            config[field.name] = config_dict.placeholder(plain_type(field.type))
        elif plain_type(field.type) is object:
            config[field.name] = config_dict.FieldReference(field.default, field_type=object)
        else:
            config[field.name] = field.default
    return config.lock()
