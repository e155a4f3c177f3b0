"""A dispatch that is on its way, and its metrics when they have come home."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from alignreg_jax.errors import NonFiniteLoss


@dataclass(frozen=True)
class InFlight:
    """A dispatch whose metrics are still on the device."""

    metrics: Mapping[str, Any]
    first_step: int
    count: int
    seeds: tuple[int, ...] = (0,)


def fetch(dispatch: InFlight) -> list[dict[str, float]]:
    """Metrics of a dispatch for every seed: means over its steps, except `examples`, a sum.

    Raises:
        NonFiniteLoss: names the first step whose loss is not finite, and of several seeds which.
    """
    fetched = jax.device_get(dict(dispatch.metrics))
    # One row a seed
    fetched = {name: np.atleast_2d(values)[:, : dispatch.count] for name, values in fetched.items()}
    found = []
    for index, seed in enumerate(dispatch.seeds):
        history = {name: values[index] for name, values in fetched.items()}
        # An infinite gradient under a finite loss has already spoilt the weights
        finite = np.isfinite(history["loss"]) & np.isfinite(history["grad_norm"])
        if not finite.all():
            first = int(np.argmin(finite))
            what = "loss" if not np.isfinite(history["loss"][first]) else "gradient"
            whose = f" of seed {seed}" if len(dispatch.seeds) > 1 else ""
            step = dispatch.first_step + first + 1
            raise NonFiniteLoss(f"the {what}{whose} is not finite at step {step}")
        means = {name: float(np.mean(values)) for name, values in history.items()}
        found.append({**means, "examples": float(np.sum(history["examples"]))})
    return found
