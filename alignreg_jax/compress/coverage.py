"""Which pieces to keep for some texts and languages, and what is lost by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from alignreg_jax.compress.pieces import Pieces, script
from alignreg_jax.errors import UserError

SIGNS = 600
_NONE = 1e-300  # divides a sum of nothing
_MANY, _RARE = 3000, -14.5  # a script with so many letters loses those with a lower score

MORE_PIECES, UNKNOWN = 1.10, 0.005
"""Pieces after / before and added share of <unk> from which on a language is worse served."""


@dataclass(frozen=True)
class Sample:
    """Texts or words of one language; `often` is how often each is met."""

    name: str
    texts: Sequence[str]
    often: Float[np.ndarray, " texts"]


@dataclass(frozen=True)
class Loss:
    """What a language lost.

    Attributes:
        name: of the language or file.
        texts: how many were looked at.
        pieces: after / before.
        unknown: share of <unk> in the pieces before, and after.
        unchanged: share of texts whose pieces are the same.
    """

    name: str
    texts: int
    pieces: float
    unknown: tuple[float, float]
    unchanged: float

    @property
    def warned(self) -> bool:
        """Whether it is worse served than a user would take without being told."""
        before, after = self.unknown
        return self.pieces >= MORE_PIECES or after - before >= UNKNOWN


def choose(
    pieces: Pieces,
    texts: Sequence[str],
    languages: Mapping[str, Mapping[str, float]],
    *,
    needed: set[int],
    tokens: int | None,
    coverage: float,
    multiple: int = 1,
) -> set[int]:
    """Choose ids: all that the texts need, what any text has, and the most frequent of languages.

    Every language weighs the same. Without `tokens` their pieces are taken until each of them is
    covered.

    Args:
        pieces: of the tokenizer.
        texts: whose pieces all stay.
        languages: words of each and how often they are met.
        needed: ids that stay in any case.
        tokens: how many to keep at most; None: as many as it takes.
        coverage: share of each language's running pieces to keep.
        multiple: of which the number is to be one; the best scored fill it up.

    Raises:
        UserError: the texts alone need more than there is room for.
    """
    kept = pieces.always() | needed | pieces.of_texts(texts)
    room = len(pieces) if tokens is None else tokens - tokens % multiple
    if len(kept) > room:
        who, fewer = ("the texts", "fewer texts, or ") if texts else ("the tokenizer's own", "")
        raise UserError(
            f"there is room for {room:,} pieces, and {who} need {len(kept):,}; give {fewer}more"
            " --tokens or --max-mb"
        )
    scripts = _scripts(texts) | _scripts([word for words in languages.values() for word in words])
    letters = [one for name in sorted(scripts) for one in _letters(pieces, name)]
    weights = [pieces.weights(words) for words in languages.values()]
    for wanted in (letters, pieces.signs()[:SIGNS], *_by_frequency(weights, tokens, coverage)):
        for one in wanted:
            if len(kept) >= room:
                break
            kept.add(one)
    if missing := -len(kept) % multiple:
        others = (int(one) for one in np.argsort(-pieces.scores, kind="stable"))
        kept |= set([one for one in others if one not in kept][:missing])
    return kept


def _letters(pieces: Pieces, script: str) -> list[int]:
    found = pieces.letters({script})
    if len(found) <= _MANY:
        return found
    return [one for one in found if pieces.scores[one] > _RARE]


def _by_frequency(
    weights: Sequence[Float[np.ndarray, " pieces"]], tokens: int | None, coverage: float
) -> list[list[int]]:
    """Lists of pieces in the order in which to take them."""
    if not weights:
        return []
    if tokens is not None:
        total = np.sum(weights, axis=0)
        order = np.argsort(-total, kind="stable")
        return [order[: np.count_nonzero(total)].tolist()]
    found = []
    for own in weights:
        order = np.argsort(-own, kind="stable")
        count = int(np.searchsorted(np.cumsum(own[order]), coverage - 1e-12)) + 1
        found.append(order[: min(count, np.count_nonzero(own))].tolist())
    return found


def loss(before: Pieces, after: Pieces, sample: Sample) -> Loss:
    """Compare how two tokenizers read a sample; of no texts nothing is lost."""
    old, new = before.read(sample.texts), after.read(sample.texts)
    whole = max(float(sample.often.sum()), _NONE)

    def often(values: Sequence[int]) -> float:
        return float(np.array(values, float) @ sample.often)

    pieces = [max(often([len(ids) for ids in each]), _NONE) for each in (old, new)]
    unknown = [
        often([ids.count(vocabulary.unknown) for ids in each])
        for vocabulary, each in ((before, old), (after, new))
    ]
    same = [
        [before.names[one] for one in ids] == [after.names[one] for one in others]
        for ids, others in zip(old, new, strict=True)
    ]
    return Loss(
        sample.name,
        len(sample.texts),
        pieces[1] / pieces[0],
        (unknown[0] / pieces[0], unknown[1] / pieces[1]),
        often(same) / whole,
    )


def _scripts(texts: Sequence[str]) -> set[str]:
    characters = set().union(*texts)
    return set(map(script, characters)) - {""}
