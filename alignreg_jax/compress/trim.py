"""From a folder of a model to one with fewer pieces, whose answers to covered texts are the same.

The word embedding is 69 % of XLM-R base. Rows are left out, none is changed, so that a text whose
pieces all stay gets the same bits. What is written is read again before it takes its place.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from jaxtyping import Int

from alignreg_jax.compress import coverage, folders, pooling
from alignreg_jax.compress.coverage import Loss, Sample
from alignreg_jax.compress.folders import Original
from alignreg_jax.compress.pieces import Pieces
from alignreg_jax.data.encoding import load_tokenizer
from alignreg_jax.errors import UserError
from alignreg_jax.models import saving, special_ids
from alignreg_jax.models.saving import TOKENIZER
from alignreg_jax.models.slicing import parameters
from alignreg_jax.models.storage import Storage, few
from alignreg_jax.models.vocabulary import PATH, ActiveVocabulary
from alignreg_jax.pruning import size_files
from alignreg_jax.run import digests
from alignreg_jax.run.export import read_card
from alignreg_jax.support.files import atomic_write, whole_folder
from alignreg_jax.support.progress import progress

log = logging.getLogger(__name__)
MAP = "trim.json"
_BESIDE = ("pooler.", "lm_head.")
_BY_PIECE = ("lm_head.bias", "lm_head.decoder.weight", "lm_head.decoder.bias")
_CARD = "README.md"


class AllWanted(UserError):
    """No piece would go."""


@dataclass(frozen=True)
class Wanted:
    """What is to be kept.

    Attributes:
        texts: by name (a language, a file), texts that stay as they are.
        words: by language, words and how often they are met.
        tokens: how many pieces at most; None: as many as it takes.
        max_mb: instead of it, most megabytes of weights in float32.
        coverage: share of each language's running pieces, without either.
        multiple: of which the number of pieces is to be one.
    """

    texts: Mapping[str, Sequence[str]]
    words: Mapping[str, Mapping[str, float]]
    tokens: int | None = None
    max_mb: float | None = None
    coverage: float = 0.999
    multiple: int = 1


@dataclass(frozen=True)
class Trimmed:
    """What was done: numbers of pieces and bytes of weights, and what each language lost."""

    pieces: tuple[int, int]
    size: tuple[int, int]
    losses: tuple[Loss, ...]


def trim(folder: Path, out: Path, wanted: Wanted) -> Trimmed:
    """Write the model with fewer pieces.

    Args:
        folder: of model_type xlm-roberta, with any head or none, before or after fine-tuning.
        out: the new folder, which must not be there.
        wanted: what to keep.

    Raises:
        UserError: the folder cannot be read, its tokenizer cannot lose pieces, the texts alone need
            more than was allowed, nothing would go, or there is no room. Nothing is written then.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; give a folder that is not")
    original = folders.read(folder)
    if original.network.head is None:
        pooling.read(folder)  # refuses steps after it, whose weights would not come along
    network, beside = original.network, _read_beside(folder, original)
    load_tokenizer(folder, network.config.vocab_size)  # that they are of one checkpoint
    before = Pieces(folder / TOKENIZER)
    around = special_ids.around(folder / TOKENIZER).values()
    numbers = [network.config.pad_token_id, *(each for each in around if each is not None)]
    kept = coverage.choose(
        before,
        [text for texts in wanted.texts.values() for text in texts],
        wanted.words,
        # config.json knows these by their numbers, and positions are counted from the padding's
        needed=set(range(max(numbers) + 1)),
        tokens=_tokens(wanted, original, beside),
        coverage=wanted.coverage,
        multiple=wanted.multiple,
    )
    ids, tokenizer = before.cut(kept)
    if len(ids) >= len(before):
        raise AllWanted(f"{folder}: all {len(before):,} pieces are wanted, so nothing would go")
    if wanted.tokens and len(ids) < wanted.tokens - wanted.tokens % wanted.multiple:
        log.info("--tokens=%d: what is asked for has only %d pieces", wanted.tokens, len(ids))
    cut = ActiveVocabulary(ids)
    config, params = cut.config(network.config), cut.cut(network.params)
    kept_beside = {name: row[ids] if name in _BY_PIECE else row for name, row in beside.items()}
    size = _bytes(params) + _bytes(kept_beside)
    with whole_folder(out, size, new=True) as partial:
        saving.save(
            partial, params, config, head=network.head, labels=original.labels, source=folder,
            beside=kept_beside,
        )  # fmt: skip
        (partial / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        _check(partial, original, ids)
        if (folder / size_files.SIZES).exists():
            _copy_sizes(folder, partial, original)
        after, samples = Pieces(partial / TOKENIZER), _samples(wanted)
        with progress(len(samples), "comparing", "languages") as bar:
            losses = []
            for sample in samples:
                losses.append(coverage.loss(before, after, sample))
                bar.update(1)
        done = Trimmed(
            (len(before), len(ids)),
            (_bytes(network.params) + _bytes(beside), size),
            tuple(losses),
        )
        content = {"pieces": len(ids), "of": len(before), "ids": ids.tolist()}
        atomic_write(partial / MAP, json.dumps(content) + "\n")
        text = read_card(folder, otherwise=f"# {folder.name}\n")
        atomic_write(partial / _CARD, f"{text.rstrip()}\n\n{_section(done)}")
    return done


def lines(done: Trimmed) -> list[str]:
    """What to show of it."""
    (pieces, left), (size, smaller) = done.pieces, done.size
    said = [
        f"pieces  {pieces:>13,} -> {left:>13,}  {left / pieces:.1%}",
        f"bytes   {size:>13,} -> {smaller:>13,}  {smaller / size:.1%}, weights in float32",
        "",
        f"{'':<16}{'texts':>9}  {'pieces':>7}  {'<unk>':>7}  {'before':>7}  {'unchanged':>9}",
    ]
    for loss in done.losses:
        said.append(
            f"{loss.name:<16}{loss.texts:>9,}  {f'x{loss.pieces:.3f}':>7}  {loss.unknown[1]:>7.2%}"
            f"  {loss.unknown[0]:>7.2%}  {loss.unchanged:>9.1%}{'  !' if loss.warned else ''}"
        )
    if warned := [loss.name for loss in done.losses if loss.warned]:
        said.append(
            f"! {', '.join(warned)}: a text has {coverage.MORE_PIECES - 1:.0%} more pieces, or"
            f" {coverage.UNKNOWN:.1%} more of them are <unk>; more --tokens, or --text of that"
            " kind, keep more"
        )
    return said


def _tokens(wanted: Wanted, original: Original, beside: Mapping[str, np.ndarray]) -> int | None:
    """How many pieces may stay."""
    if wanted.max_mb is None:
        return wanted.tokens
    pieces = original.network.config.vocab_size
    rows = [value for name, value in beside.items() if name in _BY_PIECE]
    of_a_piece = 4 * (original.network.config.hidden_size + sum(row[0].size for row in rows))
    rest = _bytes(original.network.params) + _bytes(beside) - pieces * of_a_piece
    fits = int(min((wanted.max_mb * 1e6 - rest) / of_a_piece, pieces))
    if fits < 1:
        raise UserError(
            f"--max-mb={wanted.max_mb:g}: without any piece the model has {rest / 1e6:.1f} MB"
        )
    return fits


def _read_beside(folder: Path, original: Original) -> dict[str, np.ndarray]:
    """What training may begin from beside an encoder: its pooler, a language model's head."""
    plain = original.network.head is None  # else training has begun
    mine = [name for name in original.skipped if plain and name.startswith(_BESIDE)]
    others = [name for name in original.skipped if name not in mine]
    if others := [name for name in others if not name.endswith("position_ids")]:
        log.info("%s: left out: %s", folder, few(others))
    stored = Storage(folder)
    return {name: stored.read(name) for name in mine}


def _check(folder: Path, original: Original, ids: Int[np.ndarray, " kept"]) -> None:
    """Read what was written: the same arrays to the bit, and rows of the table in their order.

    Raises:
        UserError: something differs.
    """
    written, source = (_flat(each.network.params) for each in (folders.read(folder), original))
    source[PATH] = source[PATH][ids]
    if written.keys() != source.keys() or not all(
        np.array_equal(written[path], leaf) for path, leaf in source.items()
    ):
        raise UserError(f"{folder}: what was written is not what was read; nothing was kept")


def _copy_sizes(folder: Path, target: Path, original: Original) -> None:
    """The thresholds of a model that serves every size belong to the trimmed one, too."""
    now = folders.read(target).network
    moved = replace(
        folders.sizes(folder, original.network), encoder=digests.of_encoder(now.params, now.config)
    )
    atomic_write(target / size_files.SIZES, moved.to_bytes())


def _samples(wanted: Wanted) -> list[Sample]:
    texts = [Sample(name, each, np.ones(len(each))) for name, each in wanted.texts.items()]
    return texts + [
        Sample(f"{name} (words)", list(words), np.array(list(words.values()), float))
        for name, words in wanted.words.items()
    ]


def _section(done: Trimmed) -> str:
    rows = "\n".join(
        f"| {loss.name} | {loss.texts:,} | x{loss.pieces:.3f} | {loss.unknown[1]:.2%} |"
        f" {loss.unknown[0]:.2%} | {loss.unchanged:.1%} |"
        for loss in done.losses
    )
    return (
        f"## Fewer pieces\n\n`alignreg trim` has kept {done.pieces[1]:,} of {done.pieces[0]:,}"
        f" pieces. Texts whose pieces all stay get the same answers to the bit; `{MAP}` has the"
        " original id of each piece.\n\n| of | texts | pieces after / before | <unk> | before |"
        f" unchanged |\n|---|---|---|---|---|---|\n{rows}\n"
    )


def _flat(params: Any) -> dict[str, np.ndarray]:
    leaves = traverse_util.flatten_dict(dict(params), sep="/")
    return {path: np.asarray(leaf, np.float32) for path, leaf in leaves.items()}


def _bytes(params: Any) -> int:
    """In float32, as `saving` writes them."""
    return 4 * parameters(params)
