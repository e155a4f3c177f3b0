"""Configuration: a ConfigDict at the edge, frozen dataclasses inside.

A config file builds on `default_config()`; `resolve` lets the method's preset fill the fields that
are still placeholders (an explicit value wins), checks every field by name and returns values only.
"""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict, config_dict

from alignreg_jax.config_checks import convert, plain_type, validate
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.pruning.methods import PRESETS, REGULARIZERS


@dataclass(frozen=True)
class ModelConfig:
    """Which encoder, with which head, computed how."""

    name_or_path: str = "FacebookAI/xlm-roberta-base"  # Hub id, folder, or "demo" (bundled)
    head: str = "dense-tanh-out"  # or "linear", the paper's words
    new_head: bool = False  # leave out the head that the encoder's checkpoint has
    dtype: str = "float32"  # of the computation; parameters are always float32
    remat: bool = False  # recompute activations in the backward pass
    unroll: int = 0  # layers per iteration of the loop over them; 0: all on a GPU, elsewhere 1
    # Where attention dropout is off: "einsum", "cudnn", or "auto": cuDNN on one GPU in bfloat16
    attention: str = "auto"
    attention_dropout: float | None = None  # None: the encoder's own
    active_vocabulary: bool = True  # train on the rows of the word embedding that the data use


@dataclass(frozen=True)
class TaskConfig:
    """Which task, and where its data are."""

    name: str = "xnli"
    source: str = "hub"  # hub | folder | demo
    data_dir: str | None = None  # folder of JSONL, XGLUE's folder or .tar.gz, or parquet
    hub_id: str | None = None  # another Hub data set than the task's own, "owner/name"
    languages: tuple[str, ...] = ()  # empty: every language the task has
    max_length: int | None = None  # in pieces; None: the task's own
    # So many rows only, for trying things; 0: all. A fixed draw, in every run and seed the same
    train_examples: int = 0
    # Of token tasks alone:
    drop_blanked: bool = False  # leave out training sentences whose words are all "_"
    strip_space_marker: tuple[str, ...] = ()  # languages whose pieces lose the mark of a space


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation; AdamW without decay on biases and LayerNorm."""

    batch_size: int = 32
    learning_rate: float = 5e-6
    weight_decay: float = 0.01
    warmup_steps: int = 0
    schedule: str = "constant"  # after warm-up: constant | linear (to 0 at the last step)
    bucketing: str = "length"  # or "none": uniform sampling, every batch at max_length
    steps_per_dispatch: int = 16
    accumulation: int = 1  # microbatches per step
    max_grad_norm: float = 0.0  # clip after masking; 0: off
    score_learning_rate: float | None = None  # of gates and other scores that a method learns
    multiplier_learning_rate: float = 0.01  # of multipliers, which climb; CoFi's
    freeze: tuple[str, ...] = ()  # parameter path prefixes that stay as pretrained


@dataclass(frozen=True)
class PruningConfig:
    """When how much is pruned, by which criterion; all placeholders are filled by the method."""

    criterion: str | None = None
    scope: str | None = None  # layer | global
    schedule: str = "geometric"  # geometric | linear | cubic | explicit
    steps: int | None = None
    fraction: float = 0.1  # geometric: share of the survivors removed by each step
    final: float | None = None  # remaining after the last step; overrides fraction
    explicit: tuple[float, ...] = ()  # remaining after each step, for schedule=explicit
    epochs_per_step: int = 15
    first_epochs: int | None = None  # dense fine-tuning; None: as epochs_per_step
    gradient_batches: int = 32  # for criteria that are gradients: batches before each cut
    keep_zeros: bool = False  # weights that are zero in the encoder, pruned before, stay so


@dataclass(frozen=True)
class RegularizerConfig:
    """The penalty added to the task loss."""

    name: str | None = None  # a row of pruning.methods.REGULARIZERS
    weight: float | None = None
    reference: str | None = None  # pretrained | finetuned
    norm: str = "squared"  # Frobenius: squared | norm
    reduce: str = "sum"  # over matrices: sum | mean
    phases: str | None = None  # all | dense: until the first cut only


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated after every pruning step."""

    languages: tuple[str, ...] = ()  # dense and at the end; empty: all
    every_phase_languages: tuple[str, ...] = ()  # in between; empty: as languages
    splits: tuple[str, ...] = ("dev", "test")
    # So many rows of each file only, for trying things; 0: all. A fixed draw, in every run and seed
    # the same; files of equally many rows, as of parallel test sets, give rows of the same numbers
    examples: int = 0
    save_predictions: bool | str = False  # or "xglue": also in the form of XGLUE's own evaluation
    batch_size: int = 64


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save; a phase's end is always saved."""

    every_minutes: float = 10.0  # 0: not by time
    every_steps: int = 0  # 0: not by steps
    keep: int = 2
    keep_finished: bool = True  # of a run that is complete; they are most of its size


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one of them may be -1, all that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class TrackingConfig:
    """Where events go beside metrics.jsonl."""

    tensorboard: bool = False


@dataclass(frozen=True)
class ExperimentConfig:
    """A run, resolved: nothing in it is a placeholder that a method should have filled."""

    method: str = "frobenius-mbp"
    seed: int = 0  # of the head, dropout, draws, and which rows stand together in a batch
    seeds: int = 1  # so many, from `seed` on, trained side by side in one program
    data_seed: int = 0  # the order in which batches of each length come, the same for all seeds
    export: bool = True  # write the pruned model as a folder that transformers loads
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    train: TrainConfig = TrainConfig()
    pruning: PruningConfig = PruningConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    mesh: MeshConfig = MeshConfig()
    tracking: TrackingConfig = TrackingConfig()


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


def field_paths(section: type = ExperimentConfig, prefix: str = "") -> list[str]:
    """Every field by its path, such as "train.batch_size"."""
    paths = []
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            paths += field_paths(typing.cast(type, field.type), f"{prefix}{field.name}.")
        else:
            paths.append(prefix + field.name)
    return paths


def resolve(config: Any) -> ExperimentConfig:
    """Fill placeholders from the method's preset, check every field, return frozen values.

    Args:
        config: what a config file's `get_config` returned; not changed.

    Raises:
        UserError: names the first field that is wrong and what it may be.
    """
    default = default_config()
    sections = {name for name, value in default.items() if isinstance(value, ConfigDict)}
    if isinstance(config, ConfigDict) and {"base", "methods"} <= set(config):
        raise UserError(
            "--config: this is the config of a sweep; python -m alignreg_jax.sweep takes it"
        )
    if not isinstance(config, ConfigDict) or not sections | {"method"} <= set(config):
        raise UserError("--config: get_config() should change and return config.default_config()")
    if config.method not in PRESETS:
        raise UserError(f"method={config.method!r} is unknown; choose from {', '.join(PRESETS)}")
    values = config.to_dict()
    _fill(values)
    resolved = _from_dict(ExperimentConfig, values, "")
    validate(resolved)
    return resolved


def _fill(values: dict[str, Any]) -> None:
    """Let the method fill the fields that are still placeholders."""
    fallbacks = {
        "pruning.criterion": "magnitude",
        "pruning.scope": "layer",
        "pruning.steps": 12,
        "pruning.first_epochs": values["pruning"]["epochs_per_step"],
        "regularizer.name": "none",
        "regularizer.reference": "pretrained",
        "regularizer.phases": "all",
        "train.score_learning_rate": 0.01,
    }
    for source in (PRESETS[values["method"]], fallbacks):
        for path, value in source.items():
            section, name = path.split(".")
            if values[section][name] is None:
                values[section][name] = value
    if values["method"] == "none":  # whatever schedule the config file has for the others
        values["pruning"] |= {"steps": 0, "explicit": ()}
    regularizer = values["regularizer"]
    if regularizer["weight"] is None:
        regularizer["weight"] = REGULARIZERS.get(regularizer["name"])


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """Plain nested dict with lists for tuples, as config.json holds it."""
    return plain(dataclasses.asdict(config))


def plain(value: Any) -> Any:
    """Nested dicts with lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def with_later_fields(old: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote with `to_dict`, with the fields that have come since.

    They are at their defaults, or at what the method fills in: as if that version had had them.
    """
    values = merged(to_dict(ExperimentConfig()), old)
    if values["method"] in PRESETS:
        _fill(values)
    return plain(values)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over`, and what only `base` has."""
    found = dict(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(name), dict)
        found[name] = merged(base[name], value) if both else value
    return found


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields that differ, as `section.name (old -> new)`.

    A field that exists no longer counts if it was set to something, since it changed what was done.
    """
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict | None):
            found += differences(before, after or {}, f"{prefix}{name}.")
        elif name not in new:
            if before:
                found.append(f"{prefix}{name} ({before!r} -> a field no longer)")
        elif before != after:
            found.append(f"{prefix}{name} ({before!r} -> {after!r})")
    return found


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


def _from_dict(section: type, values: dict[str, Any], prefix: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(section)}
    unknown = values.keys() - known.keys()
    if unknown:
        raise UserError(f"{prefix}{sorted(unknown)[0]} is not a field of the configuration")
    out = {}
    for name, value in values.items():
        annotation = known[name].type
        if dataclasses.is_dataclass(annotation):
            out[name] = _from_dict(typing.cast(type, annotation), value, f"{prefix}{name}.")
        else:
            out[name] = convert(value, annotation, prefix + name)
    return section(**out)
