"""What an export tells of the sizes that its model serves: one file to cut by, one to read."""

import json
from collections.abc import Mapping
from typing import Any

from alignreg_jax.models.slicing import absent_parameters, parameters
from alignreg_jax.models.xlmr import Params, XlmrConfig
from alignreg_jax.pruning import elastic
from alignreg_jax.pruning.elastic import Tau
from alignreg_jax.pruning.size_files import SIZES, SUMMARY, Sizes
from alignreg_jax.run import digests


def files(
    tau: Tau, params: Params, config: XlmrConfig, results: Mapping[str, Any]
) -> dict[str, bytes]:
    """Files to write beside a model, by their names.

    Args:
        tau: thresholds.
        params: of the whole model, on the host.
        config: its architecture.
        results: of the run, with a prune_step for every size that was evaluated.
    """
    steps = [step for step in results["prune_steps"] if "size" in step]
    listed, whole = [], parameters(params)
    for step in steps:
        left = whole - absent_parameters(config, elastic.units_at(tau, step["size"]))
        weights = {
            "encoder_weights": step["remaining"], "parameters": left, "megabytes": left * 4 / 1e6
        }  # fmt: skip
        scores = {name: step[name] for name in ("en", "zero_shot_avg", "worst", "languages")}
        listed.append({"size": step["size"], **weights, **scores})
    head = {name: results[name] for name in ("task", "metric", "split", "method", "seed")}
    text = json.dumps({**head, "sizes": listed}, indent=1, ensure_ascii=False) + "\n"
    smallest = min(step["size"] for step in steps)
    found = Sizes(tau, smallest, digests.of_encoder(params, config))
    return {SIZES: found.to_bytes(), SUMMARY: text.encode()}
