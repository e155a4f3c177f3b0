"""Everything a run reads, read and checked before anything is written."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jax.sharding import Mesh

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import encoding, sources, tasks
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.data.schema import Dataset, Split
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.pruning import schedules
from alignreg_jax.reporting.progress import progress
from alignreg_jax.training import sharding

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The data set, tokenised, the encoder with a head for it, and the devices to run on.

    `evaluation` maps (split, language) to rows; `max_length` is in pieces, specials included.
    """

    dataset: Dataset
    encoder: checkpoints.Loaded
    encoder_folder: Path
    train: Encoded
    evaluation: Mapping[tuple[str, str], Encoded]
    max_length: int
    mesh: Mesh


def load_inputs(config: ExperimentConfig) -> Inputs:
    """Read data and encoder, tokenise; what is missing or odd but usable is logged.

    Raises:
        UserError: names the field, the language, or the file and line.
    """
    pruning = config.pruning
    schedules.validate(
        pruning.schedule,
        steps=pruning.steps or 0,
        fraction=pruning.fraction,
        final=pruning.final,
        explicit=pruning.explicit,
    )
    task = tasks.get_task(config.task.name)
    folder = checkpoints.resolve(config.model.name_or_path)
    architecture = checkpoints.read_config(folder)
    max_length = config.task.max_length or min(task.max_length, architecture.max_length)
    if max_length > architecture.max_length:
        raise UserError(
            f"task.max_length={max_length}: the encoder has positions for "
            f"{architecture.max_length} pieces"
        )
    mesh = _mesh(config, architecture)
    tokenizer = encoding.load_tokenizer(folder, architecture.vocab_size)
    dataset = sources.load(
        task,
        source=config.task.source,
        data_dir=config.task.data_dir,
        languages=config.task.languages or None,
    )
    chosen = _evaluated(config, dataset)
    encoder = checkpoints.load(
        folder,
        head=config.model.head,  # pyright: ignore[reportArgumentType]
        num_labels=len(dataset.labels),
        seed=config.seed,
    )
    # Nothing is said before everything has been checked: an error is one line on its own
    for note in dataset.notes:
        log.info("%s", note)
    if encoder.skipped:
        log.info("not used from the checkpoint: %s", ", ".join(encoder.skipped))
    if encoder.initialised:
        log.info("new, from the seed: %s", ", ".join(encoder.initialised))
    train = _head(dataset.train, config.task.train_examples)
    total = len(train.labels) + sum(len(split.labels) for split in chosen.values())
    with progress(total, "tokenising", "rows") as bar:

        def encode(split: Split) -> Encoded:
            return encoding.encode(
                split,
                tokenizer,
                max_length,
                cache_dir=encoding.default_cache_dir(),
                progress=bar.update,
            )

        encoded_train = encode(train)
        evaluation = {key: encode(split) for key, split in chosen.items()}
    return Inputs(dataset, encoder, folder, encoded_train, evaluation, max_length, mesh)


def _mesh(config: ExperimentConfig, architecture: XlmrConfig) -> Mesh:
    """The mesh, if model and batches divide over it."""
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    train = config.train
    sizes = {
        "train.batch_size / train.accumulation": train.batch_size // train.accumulation,
        "eval.batch_size": config.eval.batch_size,
    }
    sharding.check(mesh, architecture, sizes)
    return mesh


def _evaluated(config: ExperimentConfig, dataset: Dataset) -> dict[tuple[str, str], Split]:
    """The splits that any phase evaluates, test first, in the data set's order of languages."""
    known = set(dataset.dev) | set(dataset.test)
    for field in ("languages", "every_phase_languages"):
        for language in getattr(config.eval, field):
            if language not in known:
                raise UserError(
                    f"eval.{field}: no data for {language!r}; there is {', '.join(sorted(known))}"
                )
    wanted = {*config.eval.languages, *config.eval.every_phase_languages}
    if not config.eval.languages:
        wanted = known
    found = {
        (name, language): _head(split, config.eval.examples)
        for name, splits in (("test", dataset.test), ("dev", dataset.dev))
        if name in config.eval.splits
        for language, split in splits.items()
        if language in wanted
    }
    if not found:
        raise UserError(f"eval.splits={config.eval.splits}: none of the languages has such data")
    return found


def _head(split: Split, rows: int) -> Split:
    """The first `rows` rows; 0 is all."""
    if not rows:
        return split
    return replace(
        split,
        text_a=split.text_a[:rows],
        text_b=None if split.text_b is None else split.text_b[:rows],
        labels=split.labels[:rows],
    )
