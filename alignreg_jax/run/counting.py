"""How many weights each cut of a run leaves; whether it can, before anything is trained."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.models import xlmr
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.pruning import groups, masks, unit_cuts
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.run.plan import Phases


def keep(shapes: Mapping[str, Any], heads: int, remaining: float, scope: Any) -> masks.Keep:
    """Count what a cut to a share of the weights leaves.

    Args:
        shapes: of the encoder's kernels.
        heads: in a layer.
        remaining: the share.
        scope: of the cut.

    Raises:
        UserError: there is no such cut.
    """
    if scope in unit_cuts.SCOPES:
        return unit_cuts.keep_counts(shapes, heads, remaining, scope)
    if scope == masks.NEIGHBOURS:
        groups.check(shapes)
    return masks.keep_counts(prunable.sizes(shapes), remaining, scope)


def check(config: ExperimentConfig, architecture: XlmrConfig, phases: Phases) -> None:
    """Check that every cut of a run can be made.

    Args:
        config: resolved.
        architecture: of the encoder as it is trained.
        phases: the time table.

    Raises:
        UserError: one cannot.
    """
    if not phases.last:
        return
    shapes, heads = _shapes(architecture), architecture.layers[0].heads
    left = [phases.remaining(phase) for phase in range(phases.last + 1)]
    for remaining in (*left, *(config.pruning.sizes or ())):
        keep(shapes, heads, remaining, config.pruning.scope)


@lru_cache
def _shapes(architecture: XlmrConfig) -> Mapping[str, Any]:
    """Of the kernels, asked of the model itself."""
    model = xlmr.XlmrModel(architecture, "linear", 1)
    tree = jax.eval_shape(lambda key: xlmr.init_params(model, key), jax.random.key(0))
    return prunable.split(tree)[0]
