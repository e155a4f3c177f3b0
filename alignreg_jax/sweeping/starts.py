"""What a sweep's config file begins with, and what its fields mean; imports no JAX."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from alignreg_jax import config as configuration
from alignreg_jax.config.paths import meanings

SET = {"method": "methods", "seed": "seeds", "seeds": "seeds", "task.name": "tasks"}
"""A run's fields that the sweep sets, and where it takes them from."""


class Field(NamedTuple):
    """Of a sweep's own fields: its type, and what it means."""

    kind: Any
    meaning: str


TABLE = {
    "methods": Field(
        tuple[str, ...],
        "the table's rows: methods, each with fields behind it if need be, as"
        " l2sp@regularizer.weight=0.01@train.batch_size=16",
    ),
    "tasks": Field(tuple[str, ...], "the table's columns, likewise: xnli@train.learning_rate=2e-5"),
    "seeds": Field(tuple[int, ...], "seeds that every row has on every task"),
    "remaining": Field(tuple[float, ...], "shares of weights at which the table is read"),
    "baseline": Field(str, "the row that the others are compared with"),
    "comparisons": Field(
        tuple[str, ...],
        "the rows that are tested against it, empty for all: the fewer, the smaller the differences"
        " that the test finds (docs/statistics.md)",
    ),
    "tested_at": Field(
        float,
        "the one of remaining at which they are tested; 0: the paper's 31 % where it is among"
        " them, else the smallest",
    ),
    "together": Field(
        int, "seeds of a row that are trained side by side; 0: as many as fit on the device"
    ),
}
"""A sweep's own fields; base has those of every run."""


def default_config(base: Any = None) -> Any:
    """A sweep's fields with their defaults, as a locked ConfigDict for a config file to change.

    `base` is the ConfigDict of a run (config.default_config() without it). Predictions are kept,
    because tests over examples need them; so are a run's checkpoints only until it is complete.
    """
    config: Any = ConfigDict()  # its fields are dynamic
    base = configuration.default_config() if base is None else base
    base.eval.save_predictions = True
    base.checkpoint.keep_finished = False
    config.base = base
    config.methods = ("l2-mbp", "cosine-mbp", "frobenius-mbp")
    config.tasks = ("xnli",)
    config.seeds = (0, 1, 2)
    config.remaining = (0.9**11,)
    config.baseline = "l2-mbp"
    config.comparisons = ()
    config.tested_at = 0.0
    config.together = 0
    return config.lock()


DEMO_LEFT = (0.56, 0.3138, 0.1772, 0.10)
"""What the cuts of `demo_config` leave: 44 % less each time, by way of the paper's 0.9**11."""


def demo_config(
    *,
    train_examples: int,
    first_epochs: int,
    epochs_per_step: int,
    left: Sequence[float] = DEMO_LEFT,
) -> Any:
    """A run on the bundled data and encoder that fits on a CPU, as the base of a sweep.

    `left` is what its cuts leave; the others as the fields of their names.
    """
    config: Any = configuration.demo_config()
    config.export = False
    config.task.train_examples = train_examples
    config.pruning.schedule = "explicit"
    config.pruning.steps = len(left)
    config.pruning.final = None
    config.pruning.explicit = tuple(left)
    config.pruning.first_epochs = first_epochs
    config.pruning.epochs_per_step = epochs_per_step
    config.eval.languages = configuration.DEMO_LANGUAGES
    config.eval.every_phase_languages = ()
    return config


def field_meanings() -> dict[str, str]:
    """Every field of a sweep that a flag may set, such as "base.train.batch_size", and its meaning.

    The sweep's own come first.
    """
    of_runs = {f"base.{path}": text for path, text in meanings().items() if path not in SET}
    return {name: field.meaning for name, field in TABLE.items()} | of_runs


def field_paths() -> list[str]:
    """The paths of `field_meanings`."""
    return list(field_meanings())
