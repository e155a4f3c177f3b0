"""Whether what a method is made of goes together: criterion, scope, regularizer, sizes, zeros."""

import itertools
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.pruning.elastic import LEAST_DEPTH
from alignreg_jax.pruning.methods import LEARNED, PRESETS, build, solver
from alignreg_jax.pruning.penalties import GATED


def check_method(config: Any) -> None:
    """Check the fields of a resolved ExperimentConfig that make up its method.

    Raises:
        UserError: names a field that does not go with another.
    """
    regularizer = config.regularizer
    if regularizer.reference == "finetuned":
        if regularizer.name not in ("none", "cosine", "cosine-layer", "frobenius"):
            raise UserError(
                f"regularizer.reference='finetuned': {regularizer.name} does not compare with it; "
                "leave it at pretrained"
            )
        if regularizer.phases == "dense":
            raise UserError(
                "regularizer.phases='dense': the fine-tuned reference exists from the first cut on,"
                " so there would never be a penalty"
            )
    if regularizer.phases == "dense" and regularizer.name != "none" and config.pruning.steps:
        if field := own_way(config):
            raise UserError(
                f"regularizer.phases='dense': with {field} the dense phase is that of all methods,"
                " so there would never be a penalty"
            )
    if regularizer.name in GATED:
        if regularizer.phases == "dense":
            raise UserError(
                "regularizer.phases='dense': gates are learned for cuts, and none is in it"
            )
        if not config.train.score_learning_rate:
            raise UserError("train.score_learning_rate=0: the gates would never be learned")
    if config.pruning.keep_zeros:
        _check_zeros(config.pruning)
    if config.pruning.gradients_on == "text" and config.distill.text is None:
        raise UserError("pruning.gradients_on=text: there is no text; set distill.text")
    _check_learned(config)
    if "pruning.sizes" in PRESETS[config.method] and not config.pruning.sizes:
        raise UserError(
            f"pruning.sizes: is empty, and method={config.method} is a training for sizes; cuts"
            " step by step are structured-fisher"
        )
    _check_sizes(config.pruning)
    build(
        criterion=config.pruning.criterion,
        scope=config.pruning.scope,
        regularizer=regularizer.name,
        norm=regularizer.norm,
        reduce=regularizer.reduce,
        any_size=config.pruning.sizes_of if config.pruning.sizes else None,
    )


def own_way(config: Any) -> str:
    """The field for which a method trains otherwise from phase 1 on; "" if it goes on as before."""
    pruning = config.pruning
    ways = {
        f"pruning.criterion={pruning.criterion}": pruning.criterion in LEARNED,
        "pruning.sizes": pruning.sizes,
        "pruning.start=pretrained": pruning.start == "pretrained",
        f"pruning.freeze={','.join(pruning.freeze or ())}": pruning.freeze,
    }
    return next((field for field, given in ways.items() if given), "")


def _check_zeros(pruning: Any) -> None:
    """Raise UserError where cuts count by smaller parts than those that zeros are counted by."""
    by_parts = {
        f"pruning.scope={pruning.scope}": pruning.scope not in ("layer", "global"),
        f"pruning.criterion={pruning.criterion}": solver(pruning.criterion) is not None,
    }
    for what, wrong in by_parts.items():
        if wrong:
            raise UserError(
                f"pruning.keep_zeros: {what} counts by units, groups or blocks, so it cannot count"
                " weights that are zero already"
            )


def _check_sizes(pruning: Any) -> None:
    """Raise UserError for sizes that are no list of sizes, or that nothing orders."""
    sizes = pruning.sizes or ()
    for before, after in itertools.pairwise(sizes):
        if after >= before:
            raise UserError(
                f"pruning.sizes: {after:g} after {before:g}; give sizes from large to small, the"
                " last is the smallest that is trained"
            )
    if pruning.scope == "layers" and sizes and min(sizes) < LEAST_DEPTH:
        raise UserError(
            f"pruning.sizes={min(sizes):g}: with pruning.scope=layers half of the layers always"
            f" stay; give sizes of at least {LEAST_DEPTH:g}"
        )
    if sizes and pruning.start == "pretrained":
        raise UserError(
            "pruning.start=pretrained: pruning.sizes are of the fine-tuned model, whose units are"
            " ordered by what they do for the task"
        )


def _check_learned(config: Any) -> None:
    """Raise UserError for what does not go with learned masks, or with another start."""
    pruning, name = config.pruning, config.pruning.criterion
    if name in LEARNED:
        if not config.train.score_learning_rate:
            raise UserError("train.score_learning_rate=0: the masks would never be learned")
        if pruning.warmup + pruning.cooldown >= 1:
            raise UserError(
                f"pruning.warmup={pruning.warmup:g} and pruning.cooldown={pruning.cooldown:g} are"
                " shares of learning, and together they leave no time to prune in"
            )
        if pruning.keep_zeros:
            raise UserError(
                f"pruning.keep_zeros: pruning.criterion={name} lets pruned weights return, so it"
                " cannot keep them at zero"
            )
    if pruning.start == "pretrained" and config.regularizer.reference == "finetuned":
        raise UserError(
            "regularizer.reference=finetuned: with pruning.start=pretrained the fine-tuned weights"
            " are left before the first cut; compare with the pretrained ones"
        )
