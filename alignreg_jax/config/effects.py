"""Fields that change nothing in a run, because another one switches them off."""

from collections.abc import Collection, Mapping
from typing import Any

from alignreg_jax.config import ExperimentConfig, default_config
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.pruning.method import MEASURED
from alignreg_jax.pruning.methods import EVERY_CRITERION, LEARNED
from alignreg_jax.pruning.penalties import GATED

_PENALTY = tuple(f"regularizer.{name}" for name in "weight reference norm reduce phases".split())
_CUTS = tuple(
    f"pruning.{name}"
    for name in (
        "criterion scope schedule fraction final explicit gradient_batches gradients_on start"
        " freeze threshold warmup cooldown mask_every sizes sizes_of depth"
    ).split()
)
_SCHEDULE = tuple(f"pruning.{name}" for name in "steps schedule fraction final explicit".split())
_OF_SEVERAL_CUTS = (*_SCHEDULE, "eval.every_phase_languages")
_TEACHER = tuple(f"distill.{name}" for name in "weight rows temperature hidden layers text".split())
_TEXT = tuple(f"distill.text_{name}" for name in "share languages examples exponent".split())
_RATES = tuple(
    f"train.{name}" for name in "learning_rate warmup_steps schedule max_grad_norm".split()
)
# Set for all tasks alike by paper_config; those without words do not mind
_UNSAID = ("task.strip_space_marker",)


def without_effect(config: ExperimentConfig) -> dict[str, str]:
    """The fields that a resolved configuration does not use, each with the reason."""
    found: dict[str, str] = {}

    def off(reason: str, *paths: str) -> None:
        found.update(dict.fromkeys(paths, reason))

    task, pruning, regularizer = get_task(config.task.name), config.pruning, config.regularizer
    if task.kind == "token":
        off(f"the head of {task.name}, which tags words, has one form only", "model.head")
    else:
        off(f"{task.name} has no words, but texts", *_UNSAID)
    if config.model.head != "label-words":
        off(f"model.head is {config.model.head}, not label-words", "model.label_words")
    if config.train.bucketing == "none":
        off(
            "train.bucketing is none: batches are drawn, of one length",
            "train.epoch_parts",
            "train.lengths_per_doubling",
        )
    if config.method == "none":
        off("nothing is pruned", "pruning.steps")
    if not pruning.steps:
        off("nothing is pruned", *_CUTS, "eval.every_phase_languages")
        if pruning.first_epochs != pruning.epochs_per_step:
            off("nothing is pruned", "pruning.epochs_per_step")
    else:
        if pruning.steps == 1:
            off("no phase is between the first and the last", "eval.every_phase_languages")
        if pruning.sizes:
            off("pruning.sizes are trained in one phase, and nothing is cut", *_SCHEDULE)
        elif pruning.schedule == "explicit":
            off("pruning.schedule is explicit", "pruning.fraction", "pruning.final")
        else:
            off(f"pruning.schedule is {pruning.schedule}, not explicit", "pruning.explicit")
            if pruning.final is not None:
                off("pruning.final says what is left at the end", "pruning.fraction")
        if not EVERY_CRITERION[str(pruning.criterion)].needs & MEASURED:
            off(f"pruning.criterion={pruning.criterion} takes none",
                "pruning.gradient_batches", "pruning.gradients_on",
            )  # fmt: skip
    if regularizer.name == "none":
        off("there is no penalty", *_PENALTY)
    elif not pruning.steps and (regularizer.name in GATED or regularizer.reference == "finetuned"):
        off("there is no penalty before the first cut", *_PENALTY, "train.score_learning_rate")
    elif regularizer.name != "frobenius":
        what = f"regularizer.name is {regularizer.name}, not frobenius"
        off(what, "regularizer.norm", "regularizer.reduce")
    if not pruning.sizes:
        off("there are no pruning.sizes", "pruning.sizes_of", "pruning.depth")
    elif pruning.scope == "layers":
        off("pruning.scope=layers leaves out nothing else", "pruning.depth")
    learned = pruning.criterion in LEARNED
    if not learned:
        what = f"pruning.criterion={pruning.criterion} does not learn masks"
        off(what, "pruning.threshold", "pruning.warmup", "pruning.cooldown", "pruning.mask_every")
    elif pruning.criterion != "soft-movement":
        off(f"pruning.criterion={pruning.criterion} has no threshold", "pruning.threshold")
    if regularizer.name not in GATED and not (learned and pruning.steps):
        off("nothing but weights is learned", "train.score_learning_rate")
    if regularizer.name != "l0-target":
        off("there are no multipliers", "train.multiplier_learning_rate")
    distill = config.distill
    if distill.teacher == "none":
        off("there is no teacher", *_TEACHER, *_TEXT)
    elif distill.teacher == "dense" and not pruning.steps:
        off("the dense weights teach from the first cut on", "distill.teacher", *_TEACHER, *_TEXT)
    else:
        if not distill.hidden:
            off("distill.hidden is 0", "distill.layers")
        if distill.text is None:
            off("there is no distill.text", *_TEXT)
    if not pruning.first_epochs and not (pruning.steps and pruning.epochs_per_step):
        off("nothing is trained", *_RATES)
    return found


def check_given(given: Mapping[str, Any], config: ExperimentConfig) -> None:
    """Refuse what was asked for this very run and would change nothing.

    Args:
        given: path of a field -> its value; a default is no wish.
        config: resolved.

    Raises:
        UserError: names the field, and what switches it off.
    """
    for path, reason in without_effect(config).items():
        if path in given and not is_default(path, given[path]):
            raise UserError(f"{path}={_shown(given[path])} has no effect: {reason}")


def notes(config: Any, resolved: ExperimentConfig) -> list[str]:
    """What a config file sets, a ConfigDict, and this run does not use."""
    found = []
    for path, reason in without_effect(resolved).items():
        value = value_at(config, path)
        # A config file has a schedule for all methods; these two do without
        by_name = resolved.method == "none" and reason == "nothing is pruned"
        by_name = by_name or (bool(resolved.pruning.sizes) and path in _OF_SEVERAL_CUTS)
        if not is_default(path, value) and not by_name and path not in _UNSAID:
            found.append(f"{path}={_shown(value)} has no effect: {reason}")
    return found


def values_at(config: Any, paths: Collection[str]) -> dict[str, Any]:
    """Some fields of a ConfigDict, or of nested dicts, by their paths."""
    return {path: value_at(config, path) for path in paths}


def value_at(config: Any, path: str) -> Any:
    """A field of a ConfigDict, or of nested dicts."""
    for name in path.split("."):
        config = config[name]
    return config


def is_default(path: str, value: Any) -> bool:
    """Whether a value is what the field has anyway; no steps are what the method none has."""
    return value == value_at(default_config(), path) or (path == "pruning.steps" and value == 0)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
