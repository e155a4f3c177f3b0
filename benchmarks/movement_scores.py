"""What the scores of movement pruning are worth after a few steps: what a cut by them leaves.

    python benchmarks/movement_scores.py    # 7 minutes on 2 cores

Trains the demo's encoder densely for two epochs, then lets scores learn beside the weights while
nothing is pruned, and cuts a copy of every matrix by scores, by their reverse, by chance and by
magnitude: loss and accuracy on 256 training rows, without training after the cut.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
from train_step import row

from alignreg_jax.config import demo_config, resolve
from alignreg_jax.models import xlmr
from alignreg_jax.pruning import criteria, masks
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.run.experiment import Experiment
from alignreg_jax.run.inputs import load_inputs

ROWS, LENGTH = 256, 16


class Cut(Exception):
    """The first cut is reached, and the run has no more to say."""


class UntilTheCut(Experiment):
    """A run that tells what cuts would leave, and ends."""

    def _cut(self, event: Any) -> None:
        state = self.trainer.state
        kernels, rest = prunable.split(state.params)
        batch = self.trainer.data.batch(jnp.arange(ROWS), LENGTH, self._model.config.pad_token_id)

        @jax.jit
        def quality(used: Any) -> tuple[Any, Any]:
            logits = xlmr.logits(self._model, prunable.merge(used, rest), batch.ids, batch.lengths)
            said = jax.nn.log_softmax(logits)[jnp.arange(ROWS), batch.labels]
            return -jnp.mean(said), jnp.mean(jnp.argmax(logits, axis=-1) == batch.labels)

        scores = state.method["scores"]
        orders = {
            "movement": scores,
            "movement, reversed": {name: -leaf for name, leaf in scores.items()},
            "chance": criteria.random(kernels, jax.random.key(0)),
            "magnitude": criteria.magnitude(kernels),
        }
        row("kept", "by", "loss", "accuracy")
        row(*["---"] * 4)
        row("100 %", "", *(f"{value:.2f}" for value in quality(kernels)))
        for share in (0.98, 0.95, 0.9, 0.8):
            keep = masks.keep_counts(prunable.sizes(kernels), share, "layer")
            for name, order in orders.items():
                kept = masks.top_k(order, masks.ones(kernels), keep, "layer")
                found = quality(masks.apply(kernels, kept))
                row(f"{share:.0%}", name, *(f"{value:.2f}" for value in found))
        raise Cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=1, help="that scores learn (default 1)")
    options = parser.parse_args()
    config: Any = demo_config("intents")
    config.method = "movement"
    config.export = False
    config.eval.examples = 20
    config.eval.languages = config.eval.every_phase_languages = ("en",)
    config.pruning.start = "dense"
    config.pruning.steps = 1
    config.pruning.epochs_per_step = options.epochs
    config.pruning.warmup, config.pruning.cooldown = 0.98, 0.01
    resolved = resolve(config)
    with TemporaryDirectory() as folder:
        inputs = load_inputs(resolved)
        run = UntilTheCut(resolved, inputs, {0: Path(folder) / "run"}, "", time.monotonic())
        try:
            run.run()
        except Cut:
            pass


if __name__ == "__main__":
    main()
