"""Everything a run reads, read and checked before anything is written."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from tokenizers import Tokenizer

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import encoding, tasks
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.data.schema import Dataset, Split
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, special_ids, vocabulary
from alignreg_jax.models.vocabulary import ActiveVocabulary
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig
from alignreg_jax.pruning import methods, penalties, schedules
from alignreg_jax.run import counting, digests, early, places, teachers, telling, uneven
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.digests import Digests
from alignreg_jax.run.plan import Phases
from alignreg_jax.run.rows import Data, load_data
from alignreg_jax.support.caches import default_cache_dir
from alignreg_jax.support.progress import progress
from alignreg_jax.training import sharding
from alignreg_jax.training.state import check_freeze, is_frozen

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The data set, tokenised, the encoder with a head for it, and the devices to run on.

    `train` has the labelled rows, then those of text without labels by language, `text_rows` of
    each. `evaluation` maps (split, language) to tokenised rows, `gold` to the rows themselves;
    `head` is the form of the classifier; `max_length` is in pieces, specials included. With a
    `vocabulary` pieces are numbered in it, while `encoder` still has them all. `digests` are of all
    of it.
    """

    dataset: Dataset
    head: Head
    encoder: checkpoints.Loaded
    encoder_folder: Path
    train: Encoded
    evaluation: Mapping[tuple[str, str], Encoded]
    gold: Mapping[tuple[str, str], Split]
    max_length: int
    mesh: Mesh
    digests: Digests
    labelled: int
    vocabulary: ActiveVocabulary | None = None
    text_rows: Mapping[str, int] = field(default_factory=dict)
    text_in_epoch: int = 0
    teacher: checkpoints.Loaded | None = None

    def heads(self, seeds: Sequence[int]) -> list[Params]:
        """The head that each seed starts from; they differ if the checkpoint has none."""
        return [
            checkpoints.with_seed(self.encoder, head=self.head, seed=seed).params["head"]
            for seed in seeds
        ]

    def time_table(self, config: ExperimentConfig) -> Phases:
        """When a run on these rows prunes to what."""
        return Phases.from_config(config, self.labelled, self.text_in_epoch)

    @property
    def absent_parameters(self) -> int:
        """Parameters of the whole model in rows of the word embedding that are not trained."""
        if self.vocabulary is None:
            return 0
        config = self.encoder.config
        return (config.vocab_size - len(self.vocabulary.rows)) * config.hidden_size


def load_inputs(config: ExperimentConfig, cache: Cache | None = None) -> Inputs:
    """Read data and encoder, tokenise; what is missing or odd but usable is logged.

    Args:
        config: resolved.
        cache: of earlier runs of this process; what they have read is not read again. Arrays are
            shared with them.

    Raises:
        UserError: names the field, the language, or the file and line.
    """
    cache = cache or Cache()
    early.check(config)
    source = _prepare(config, cache)
    mesh = _mesh(config, source.architecture)
    data = load_data(config, cache)
    _check_steps(config, data, source.architecture)
    head, weights, known = _read_encoder(config, cache, source, data)
    encoder = checkpoints.with_seed(weights, head=head, seed=config.seed)
    if encoder.initialised:
        _check_learns_head(config)
    teacher = teachers.read(
        config, cache, student=encoder.config, tokenizer=source.tokenizer_digest, head=head,
        labels=data.dataset.labels,
    )  # fmt: skip
    max_length = source.max_length
    cut = cuts_vocabulary(config)

    def encode() -> tuple[Encoded, dict[tuple[str, str], Encoded], ActiveVocabulary | None]:
        # Nothing is said before everything has been checked: an error is one line on its own
        telling.found(data, encoder, config.pruning.keep_zeros)
        stripped = config.task.strip_space_marker
        train, text, evaluation = _encode(data, source.tokenizer, max_length, stripped)
        telling.coverage_of(source.tokenizer, source.max_length, data, train, text, evaluation)
        train = encoding.concatenate([train, *text.values()]) if text else train
        if not cut:
            return train, evaluation, None
        active = ActiveVocabulary.of((train, *evaluation.values()), encoder.config.pad_token_id)
        numbered = {key: active.encode(encoded) for key, encoded in evaluation.items()}
        return active.encode(train), numbered, active

    # By content: a file may have changed since another run of this process has read it
    pad = encoder.config.pad_token_id
    key = (digests.of_json(known), cut, pad, config.task.strip_space_marker)
    train, evaluation, active = cache("pieces", key, encode)
    pieces = digests.of_arrays({"rows": active.rows}) if active else None
    frozen = config.train.freeze
    cache("frozen", (source.folder, head, frozen), lambda: telling.frozen(encoder, frozen))
    return Inputs(
        data.dataset,
        head,
        encoder,
        source.folder,
        train,
        evaluation,
        data.evaluation,
        max_length,
        mesh,
        known | teachers.digest(teacher) | {"active_pieces": pieces},
        data.train.rows,
        active,
        {language: data.text[language].rows for language in sorted(data.text)},
        text_in_epoch(config, data),
        teacher,
    )


def frozen_later(config: ExperimentConfig) -> tuple[str, ...]:
    """What stands still from phase 1 on: what always does, and what the method freezes."""
    more = config.pruning.freeze if config.pruning.steps else None
    return tuple(dict.fromkeys((*config.train.freeze, *(more or ()))))


def text_in_epoch(config: ExperimentConfig, data: Data) -> int:
    """Unlabelled rows in an epoch beside the labelled ones, by `distill.text_share`."""
    share = config.distill.text_share
    return round(data.train.rows * share / (1 - share)) if data.text else 0


def identify(config: ExperimentConfig, cache: Cache) -> Digests:
    """The digests of what a run reads, but for what is known only after tokenising.

    Args:
        config: resolved.
        cache: of earlier runs of this process.

    Raises:
        UserError: it cannot be read.
    """
    source, data = _prepare(config, cache), load_data(config, cache)
    return _read_encoder(config, cache, source, data)[-1]


def cuts_vocabulary(config: ExperimentConfig) -> bool:
    """Whether the run trains on the rows of the word embedding that its data use.

    Not with decay and a pull back to the start: through Adam they move the other rows, too, in a
    way that nothing but training them tells.
    """
    decayed = config.train.weight_decay > 0 and not is_frozen(vocabulary.PATH, config.train.freeze)
    pulled = config.regularizer.name in penalties.ANCHORED
    return config.model.active_vocabulary and not (decayed and pulled)


def check_inputs(config: ExperimentConfig, cache: Cache) -> Phases:
    """Check all of a run's input but the encoder's values; returns its time table.

    Raises:
        UserError: names the field, the language, or the file and line.
    """
    early.check(config)
    source = _prepare(config, cache)
    _mesh(config, source.architecture)
    data = load_data(config, cache)
    checkpoints.check(source.folder, **_head_options(config, data))
    return _check_steps(config, data, source.architecture)


def prepared(config: ExperimentConfig, cache: Cache) -> tuple[XlmrConfig, int]:
    """The encoder's architecture, and most pieces in a row; for whoever plans runs.

    Raises:
        UserError: names the field.
    """
    source = _prepare(config, cache)
    return source.architecture, source.max_length


def _check_steps(config: ExperimentConfig, data: Data, architecture: XlmrConfig) -> Phases:
    """Check the length of a run on these rows, and its cuts; returns its time table."""
    phases = Phases.from_config(config, data.train.rows, text_in_epoch(config, data))
    total, warmup = phases.total_steps, config.train.warmup_steps
    if total >= 2**31:
        raise UserError(
            f"pruning.epochs_per_step={config.pruning.epochs_per_step}: the run would have "
            f"{total:,} training steps, and they are counted to {2**31 - 1:,}"
        )
    if 0 < total < warmup:
        raise UserError(
            f"train.warmup_steps={warmup}: the whole run has {total} training steps, so the rate "
            "would never be reached"
        )
    counting.check(config, architecture, phases)
    return phases


@dataclass(frozen=True, eq=False)
class _Source:
    """The encoder's folder and what is read there before the weights; most pieces in a row."""

    folder: Path
    architecture: XlmrConfig
    tokenizer: Tokenizer
    tokenizer_digest: str
    max_length: int


def _read_encoder(
    config: ExperimentConfig, cache: Cache, source: _Source, data: Data
) -> tuple[Head, checkpoints.Loaded, Digests]:
    """The form of the head, the encoder with one of any seed, and digests of all but the pieces."""
    options = _head_options(config, data)

    def read() -> tuple[checkpoints.Loaded, Digests]:
        found = checkpoints.load(source.folder, seed=config.seed, **options)
        found = uneven.as_trained(found, source.architecture)
        own = None if found.initialised else digests.of_arrays(found.params["head"])
        return found, {"encoder": digests.of_encoder(found.params, found.config), "head": own}

    form = (source.architecture.stacked, *options.values())
    weights, known = cache("encoder", (source.folder, *form), read)
    read_before = {"tokenizer": source.tokenizer_digest, "max_length": source.max_length}
    return options["head"], weights, data.digests | read_before | known


def _prepare(config: ExperimentConfig, cache: Cache) -> _Source:
    """What comes before data and weights, checked."""
    pruning = config.pruning
    schedules.validate(
        pruning.schedule,
        steps=pruning.steps or 0,
        fraction=pruning.fraction,
        final=pruning.final,
        explicit=pruning.explicit,
    )
    task = tasks.get_task(config.task.name)
    name = config.model.name_or_path
    folder = cache("folder", name, lambda: places.encoder(name))
    architecture = uneven.architecture(config, checkpoints.read_config(folder))
    paths = {
        slot.path for slot in checkpoints.name_table(architecture, _head_form(config)).values()
    }
    check_freeze(config.train.freeze, paths)
    learns = pruning.criterion in methods.LEARNED
    check_freeze(frozen_later(config), paths, "pruning.freeze", learns=learns)
    max_length = config.task.max_length or min(task.max_length, architecture.max_length)
    if max_length > architecture.max_length:
        raise UserError(
            f"task.max_length={max_length}: the encoder has positions for "
            f"{architecture.max_length} pieces"
        )

    def read() -> tuple[Tokenizer, str]:
        tokenizer = encoding.load_tokenizer(folder, architecture.vocab_size)
        special_ids.check(folder / checkpoints.TOKENIZER, tokenizer)
        return tokenizer, digests.of_tokenizer(folder / checkpoints.TOKENIZER)

    tokenizer, digest = cache("tokenizer", folder, read)
    return _Source(folder, architecture, tokenizer, digest, max_length)


def _check_learns_head(config: ExperimentConfig) -> None:
    """Raise UserError if a new head would never be trained: its scores would be those of chance."""
    pruning, train = config.pruning, config.train
    later = pruning.epochs_per_step if pruning.steps else 0
    if is_frozen("head", train.freeze):
        why = "train.freeze=head"
    elif not train.learning_rate:
        why = "train.learning_rate=0"
    elif not pruning.first_epochs and not later:
        why = "pruning.first_epochs=0 and no epoch after it"
    else:
        if not pruning.first_epochs:
            log.info("pruning.first_epochs=0: the dense scores are those of a head never trained")
        return
    raise UserError(
        f"model.name_or_path={config.model.name_or_path} has no head for the task, and {why} never"
        " trains a new one: all scores would be those of a random head"
    )


def _head_form(config: ExperimentConfig) -> Any:
    if tasks.get_task(config.task.name).kind != "token":
        return config.model.head
    if config.model.head == "label-words":
        raise UserError(f"model.head=label-words: it is for texts, {config.task.name} tags words")
    return "token"


def _head_options(config: ExperimentConfig, data: Data) -> dict[str, Any]:
    """What `checkpoints.load` is to be told of the head."""
    form, model = _head_form(config), config.model
    words = model.label_words if form == "label-words" else ()
    labels = data.dataset.labels
    return {"head": form, "labels": labels, "new_head": model.new_head, "words": words}


def _encode(
    data: Data, tokenizer: Tokenizer, max_length: int, stripped: Sequence[str]
) -> tuple[Encoded, dict[str, Encoded], dict[tuple[str, str], Encoded]]:
    """Tokenise the training rows, those without labels, and those that are evaluated.

    The languages `stripped` lose the mark of a space, if rows are cut into words.
    """
    splits = (data.train, *data.text.values(), *data.evaluation.values())
    total = sum(split.rows for split in splits)
    with progress(total, "tokenising", "rows") as bar:

        def encode(split: Split, language: str) -> Encoded:
            return encoding.encode(
                split,
                tokenizer,
                max_length,
                cache_dir=default_cache_dir(),
                progress=bar.update,
                strip_space_marker=language in stripped,
            )

        train = encode(data.train, "en")
        text = {language: encode(data.text[language], language) for language in sorted(data.text)}
        return train, text, {key: encode(split, key[1]) for key, split in data.evaluation.items()}


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
