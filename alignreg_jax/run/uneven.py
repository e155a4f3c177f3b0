"""An encoder of uneven layers: trained as it is, or filled up with zeros and pruned again."""

import logging
from dataclasses import replace

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.models import slicing
from alignreg_jax.models.checkpoints import Loaded
from alignreg_jax.models.xlmr import XlmrConfig

log = logging.getLogger(__name__)


def architecture(config: ExperimentConfig, found: XlmrConfig) -> XlmrConfig:
    """What is trained of an encoder: uneven layers are made even where they are to be pruned.

    Criteria, masks and penalties are of stacked kernels. The weights that are added are zero, and
    with pruning.keep_zeros they count as pruned and stay so.

    Args:
        config: resolved.
        found: of the checkpoint.

    Raises:
        UserError: something is to be pruned or held near to something, and zeros would not stay.
    """
    pruning, regularizer = config.pruning, config.regularizer
    if found.stacked or not (pruning.steps or pruning.keep_zeros or regularizer.name != "none"):
        return found
    if not pruning.keep_zeros:
        raise UserError(
            f"method={config.method}: the layers of model.name_or_path={config.model.name_or_path}"
            " are of uneven sizes; set pruning.keep_zeros, and they are filled up with zeros that"
            " stay (of single weights, not of units), or method=none, or prune the model that it"
            " was made from"
        )
    return slicing.evened(found)


def as_trained(loaded: Loaded, wanted: XlmrConfig) -> Loaded:
    """The checkpoint in the architecture that is trained."""
    if loaded.config.stacked or not wanted.stacked:
        return loaded
    sizes = wanted.layers[0]
    log.info(
        "layers of uneven sizes, filled up with zeros to %d heads and %d feed-forward units each",
        sizes.heads,
        sizes.ffn,
    )
    return replace(loaded, params=slicing.padded(loaded.params, loaded.config), config=wanted)
