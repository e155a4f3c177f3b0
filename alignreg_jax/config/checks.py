"""What a field of the configuration may be: its type, its choices, its bounds."""

import math
import re
import types
import typing
from collections.abc import Collection
from itertools import chain
from typing import Any, NamedTuple

from alignreg_jax.config.method_checks import check_method
from alignreg_jax.config.paths import plain_type
from alignreg_jax.data.tasks import MIRROR, MIRROR_LACKS, TASKS
from alignreg_jax.errors import UserError
from alignreg_jax.pruning.methods import (
    EVERY_CRITERION,
    REGULARIZERS,
    SCOPES,
)
from alignreg_jax.pruning.schedules import SCHEDULES
from alignreg_jax.support.flags import listed


def convert(value: Any, annotation: Any, path: str) -> Any:
    """Bring a value to the type of its field.

    Raises:
        UserError: names the field by its path.
    """
    wanted = plain_type(annotation)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path}={value!r} is not a finite number")
    if wanted is object:
        if type(value) in typing.get_args(annotation):
            return value
        raise UserError(f"{path}={value!r} should be of type {annotation}")
    if value is None and isinstance(annotation, types.UnionType):
        return None
    if wanted is tuple and isinstance(value, (str, tuple, list)):
        # "sw, th" or ("0.9,0.8",) is what one types; a comma in parentheses is part of its word
        kind, items = _items(annotation), [value] if isinstance(value, str) else value
        parts = chain.from_iterable(
            listed(item) if isinstance(item, str) else [item] for item in items
        )
        return tuple(convert(_number(part, kind), kind, path) for part in parts)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    raise UserError(f"{path}={value!r} should be of type {getattr(wanted, '__name__', wanted)}")


def _items(annotation: Any) -> type:
    """The type of a tuple's items: of `tuple[int, ...]`, or with None beside it."""
    if isinstance(annotation, types.UnionType):
        annotation = next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    return typing.get_args(annotation)[0]


def _number(part: Any, kind: type) -> Any:
    """A word of a list of numbers as one, if it is one."""
    if isinstance(part, str) and kind in (int, float):
        try:
            return kind(part)
        except ValueError:
            return part
    return part


# The tables are looked up when a config is checked: a user may have added rows
_CHOICES: dict[str, Collection[Any]] = {
    "model.head": ("dense-tanh-out", "linear", "label-words"),
    "model.dtype": ("float32", "bfloat16"),
    "model.attention": ("auto", "einsum", "cudnn", "fused"),
    "model.norm": ("plain", "fused"),
    "task.source": ("hub", "folder", "demo"),
    "train.schedule": ("constant", "linear"),
    "train.bucketing": ("length", "none"),
    "pruning.criterion": EVERY_CRITERION,
    "pruning.scope": SCOPES,
    "pruning.gradients_on": ("labels", "text"),
    "distill.rows": ("all", "text"),
    "pruning.sizes_of": ("rows", "step"),
    "pruning.start": ("dense", "pretrained"),
    "pruning.schedule": SCHEDULES,
    "regularizer.name": REGULARIZERS,
    "regularizer.reference": ("pretrained", "finetuned"),
    "regularizer.norm": ("squared", "norm"),
    "regularizer.reduce": ("sum", "mean"),
    "regularizer.phases": ("all", "dense"),
    "eval.save_predictions": (False, True, "xglue"),
    "export": (False, True, "steps"),
}


class Bounds(NamedTuple):
    """The least and greatest value of a number, and how an error says so."""

    least: float
    greatest: float
    words: str = ""

    def check(self, path: str, value: Any) -> None:
        """Check a number, or every one in a tuple; None is no number.

        Raises:
            UserError: names the field, the number and the bounds.
        """
        words = self.words or f"at least {self.least:g} and at most {self.greatest}"
        for number in value if isinstance(value, tuple) else (value,):
            if number is None:
                continue
            if not self.least <= number <= self.greatest:  # NaN fails too
                raise UserError(f"{path}={number!r} should be {words}")
            if isinstance(number, float) and 0 < number < _TINY:
                raise UserError(
                    f"{path}={number!r} is 0 in float32; give 0, or {_TINY:.1e} or more"
                )


_TINY = 2.0**-126  # float32's smallest: devices take what is smaller for 0
_SEED = Bounds(0, 2**32 - 1)  # JAX keeps the lower 32 bits: 2**32 would be seed 0 again
_COUNT = Bounds(0, 2**31 - 1)
_SIZE = Bounds(1, 2**31 - 1)
_ROWS = Bounds(1, 2**20)
_EPOCHS = Bounds(0, 1_000_000)
_RATE = Bounds(0.0, 3.4e38)  # float32's largest
_PART = Bounds(0.0, math.nextafter(1, 0), "at least 0 and below 1")
REMAINING = Bounds(math.ulp(0), 1.0, "above 0 and at most 1")
_DEVICES = Bounds(-1, 2**31 - 1, "a count of devices, or -1 for the rest")
BOUNDS: dict[str, Bounds] = {
    "seed": _SEED,
    "seeds": Bounds(1, 1000),
    "data_seed": _SEED,
    "model.unroll": _COUNT,
    "model.attention_dropout": _PART,
    "task.max_length": Bounds(8, 2**31 - 1),
    "task.train_examples": _COUNT,
    "train.batch_size": _ROWS,
    "train.learning_rate": _RATE,
    "train.weight_decay": _RATE,
    "train.warmup_steps": _COUNT,
    "train.lengths_per_doubling": Bounds(1, 4),
    "train.steps_per_dispatch": Bounds(1, 10_000),
    "train.epoch_parts": Bounds(1, 1_000_000),
    "train.accumulation": _ROWS,
    "train.max_grad_norm": _RATE,
    "train.score_learning_rate": _RATE,
    "train.multiplier_learning_rate": _RATE,
    "pruning.steps": Bounds(0, 10_000),
    "pruning.fraction": _PART,
    "pruning.final": REMAINING,
    "pruning.explicit": REMAINING,
    "pruning.epochs_per_step": _EPOCHS,
    "pruning.first_epochs": _EPOCHS,
    "pruning.gradient_batches": _SIZE,
    "pruning.sizes": REMAINING,
    "pruning.threshold": _PART,
    "pruning.warmup": _PART,
    "pruning.cooldown": _PART,
    "pruning.mask_every": _SIZE,
    "regularizer.weight": _RATE,
    "distill.weight": Bounds(0.0, 1.0),
    "distill.temperature": Bounds(0.01, 1000.0),
    "distill.hidden": _RATE,
    "distill.layers": _COUNT,
    "distill.text_share": Bounds(0.0, 0.99),
    "distill.text_exponent": Bounds(0.0, 10.0),
    "distill.text_examples": _COUNT,
    "eval.examples": _COUNT,
    "eval.batch_size": _ROWS,
    "checkpoint.every_minutes": _RATE,
    "checkpoint.every_steps": _COUNT,
    "checkpoint.keep": Bounds(2, 2**31 - 1),  # a damaged newest one falls back to the one before it
    "mesh.data": _DEVICES,
    "mesh.fsdp": _DEVICES,
    "mesh.tensor": _DEVICES,
}
"""Least and greatest value of every number, and of every number in a list."""


def validate(config: Any) -> None:
    """Check every field of a resolved ExperimentConfig.

    Raises:
        UserError: names the field and what it may be.
    """

    def value(path: str) -> Any:
        target: Any = config
        for name in path.split("."):
            target = getattr(target, name)
        return target

    for path, choices in _CHOICES.items():
        if value(path) not in choices:
            listed = ", ".join(map(str, choices))
            raise UserError(f"{path}={value(path)!r}: choose from {listed}")
    for path, bounds in BOUNDS.items():
        bounds.check(path, value(path))
    if not config.model.name_or_path:  # which would be the current folder
        raise UserError("model.name_or_path is empty; give a folder, a Hub id or demo")
    _SEED.check("seed + seeds - 1", config.seed + config.seeds - 1)
    for axis in ("data", "fsdp", "tensor"):
        size = value(f"mesh.{axis}")
        if size == 0:
            raise UserError(f"mesh.{axis}={size} should be {_DEVICES.words}")
    if config.train.batch_size % config.train.accumulation:
        raise UserError(
            f"train.accumulation={config.train.accumulation} does not divide "
            f"train.batch_size={config.train.batch_size}"
        )
    _check_task(config.task)
    if not config.eval.splits or set(config.eval.splits) - {"dev", "test"}:
        raise UserError(f"eval.splits={config.eval.splits!r}: choose from dev, test")
    if config.eval.languages:
        never = [
            name for name in config.eval.every_phase_languages if name not in config.eval.languages
        ]
        if never:
            raise UserError(
                f"eval.languages={','.join(config.eval.languages)} leaves out {', '.join(never)}, "
                "which eval.every_phase_languages has and whose dense score would be unknown; name "
                "the same in both, or set eval.every_phase_languages="
            )
    if config.eval.save_predictions == "xglue":
        _check_xglue(config)
    _check_hook(config.tracking.hook)
    check_method(config)
    _check_teacher(config)


def _check_teacher(config: Any) -> None:
    """Raise UserError for a teacher that has nothing to say, or text that nobody speaks about."""
    distill, pruning = config.distill, config.pruning
    if distill.text is not None and distill.teacher == "none":
        raise UserError(
            f"distill.text={distill.text}: text without labels needs a teacher; set distill.teacher"
        )
    if distill.rows == "text" and distill.text is None and distill.teacher != "none":
        raise UserError("distill.rows=text: there is no text to speak about; set distill.text")
    if distill.teacher == "dense" and pruning.steps and not pruning.first_epochs:
        raise UserError(
            "distill.teacher=dense: with pruning.first_epochs=0 the teacher would never be trained;"
            " give it epochs, or name a checkpoint"
        )


def _check_hook(hook: str | None) -> None:
    """Raise UserError unless it has the form of a function; whether there is one, is seen later."""
    if hook and not all(hook.partition(":")):
        raise UserError(
            f"tracking.hook={hook}: should be module:function, such as mlflow:log_metrics"
        )


def _check_xglue(config: Any) -> None:
    """Raise UserError unless XGLUE's evaluation script could score the predictions."""
    known = [name for name, task in TASKS.items() if task.xglue]
    if config.task.name not in known:
        raise UserError(
            f"eval.save_predictions='xglue': task.name={config.task.name!r} is not one of XGLUE's "
            f"tasks: {', '.join(known)}"
        )
    task = TASKS[config.task.name]
    wrong = "eval.save_predictions='xglue': XGLUE's script scores whole files of every language"
    if config.eval.examples:
        raise UserError(f"{wrong}, but eval.examples={config.eval.examples}")
    for field, chosen in (
        ("task.languages", config.task.languages and ("en", *config.task.languages)),
        ("eval.languages", config.eval.languages),
        ("eval.every_phase_languages", config.eval.every_phase_languages),
    ):
        lacking = ", ".join(name for name in task.languages or () if name not in chosen)
        if chosen and lacking:
            raise UserError(f"{wrong}, but {field} leaves out {lacking}")
    mirrored = config.task.data_dir is None and (config.task.hub_id or task.hub_id) == MIRROR
    if config.task.source == "hub" and mirrored and task.name in MIRROR_LACKS:
        raise UserError(
            f"{wrong}, but task.source=hub lacks {MIRROR_LACKS[task.name]} of {task.name}; "
            "task.data_dir may be XGLUE's own folder or .tar.gz"
        )


def _check_task(task: Any) -> None:
    if task.hub_id is not None:
        if re.fullmatch(r"[\w.-]+/[\w.-]+", task.hub_id) is None:
            raise UserError(f"task.hub_id={task.hub_id!r} should be like owner/name")
        if task.source != "hub":
            raise UserError(f"task.hub_id={task.hub_id!r}: needs task.source=hub")
    for language in task.strip_space_marker:
        if re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*", language) is None:
            raise UserError(
                f"task.strip_space_marker={task.strip_space_marker!r} should be languages, like th"
            )
