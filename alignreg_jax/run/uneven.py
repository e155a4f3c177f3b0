"""What an encoder whose layers have sizes of their own cannot do: be pruned once more."""

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.models.xlmr import XlmrConfig


def check(config: ExperimentConfig, architecture: XlmrConfig) -> None:
    """Check that nothing is to be pruned of uneven layers, nor compared with what they were.

    Args:
        config: resolved.
        architecture: of the encoder.

    Raises:
        UserError: something is.
    """
    pruning, regularizer = config.pruning, config.regularizer
    if architecture.stacked:
        return
    if pruning.steps or pruning.keep_zeros or regularizer.name != "none":
        raise UserError(
            f"method={config.method}: the layers of model.name_or_path={config.model.name_or_path}"
            " are of uneven sizes; they can be trained and evaluated, not pruned or regularised"
            " again: use method=none, or prune the model that it was made from"
        )
