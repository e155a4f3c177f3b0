"""The pieces of a Unigram tokenizer: which texts need which, and a tokenizer of fewer of them.

Unigram splits a text along the path of pieces with the best sum of scores (Kudo 2018). Pieces that
are on no best path of a text can go: that path stays the best. Two more stay always, whatever the
texts: the piece with the lowest score, as <unk> costs that score less 10, and the mark of a space.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from alignreg_jax.errors import UserError

SPACE = "\u2581"
"""Stands for a space before a word."""

_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


class Pieces:
    """The vocabulary of a tokenizer.json.

    Attributes:
        tokenizer: as it reads texts, without padding and truncation.
        names: of the pieces, by id.
        scores: of the pieces: log probabilities.
        unknown: id of <unk>.
    """

    def __init__(self, path: Path):
        """Read a tokenizer.json.

        Raises:
            UserError: it is damaged, or not of Unigram pieces whose ids are theirs alone.
        """
        try:
            text = path.read_text(encoding="utf-8")
            self._spec: dict[str, Any] = json.loads(text)
            self.tokenizer = Tokenizer.from_str(text)
            model = self._spec["model"]
        except FileNotFoundError:
            raise UserError(f"{path}: missing; pieces are those of tokenizer.json") from None
        except Exception as error:  # the library raises nothing narrower
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path}: not a tokenizer ({reason})") from None
        if model.get("type") != "Unigram" or model.get("byte_fallback"):
            kind = model.get("type")
            raise UserError(
                f"{path}: pieces are of {kind}{' with bytes' if kind == 'Unigram' else ''}; only"
                " Unigram without byte fallback, as XLM-R has it, can lose some and keep the others"
            )
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.names: list[str] = [name for name, _ in model["vocab"]]
        self.scores: Float[np.ndarray, " pieces"] = np.array([score for _, score in model["vocab"]])
        self.unknown = int(model["unk_id"])
        added = {token["content"]: token["id"] for token in self._spec["added_tokens"]}
        if beyond := [name for name, index in added.items() if index >= len(self.names)]:
            raise UserError(
                f"{path}: {', '.join(beyond)} stand behind the pieces of the model, as of a"
                " tokenizer that was added to; such cannot be trimmed"
            )
        self._ids = {name: index for index, name in enumerate(self.names)}
        self._special = frozenset(added.values())

    def __len__(self) -> int:
        return len(self.names)

    def always(self) -> set[int]:
        """Ids that stay whatever the texts are."""
        kept = {*self._special, self.unknown, int(self.scores.argmin())}
        return kept | ({self._ids[SPACE]} if SPACE in self._ids else set())

    def of_texts(self, texts: Sequence[str]) -> set[int]:
        """Ids on the paths of texts, and of every single character in them."""
        kept = set()
        for ids in self.read(texts):
            kept.update(ids)
        return kept | {self._ids[one] for one in self.characters(texts) if one in self._ids}

    def read(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of every text, without <s> and </s>."""
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def characters(self, texts: Iterable[str]) -> set[str]:
        """Single characters of texts, as the tokenizer sees them."""
        normalizer = self.tokenizer.normalizer
        whole = (normalizer.normalize_str(text) for text in texts) if normalizer else texts
        return set().union(*whole)

    def letters(self, scripts: set[str]) -> list[int]:
        """Ids of single characters of some scripts, the best scored first."""
        found = (
            index
            for index, name in enumerate(self.names)
            if len(bare := name.removeprefix(SPACE)) == 1 and script(bare) in scripts
        )
        return sorted(found, key=lambda index: -self.scores[index])

    def signs(self) -> list[int]:
        """Ids of pieces without a letter, such as digits and punctuation, the best scored first."""
        found = (
            index
            for index, name in enumerate(self.names)
            if index not in self._special and not any(map(script, name.removeprefix(SPACE)))
        )
        return sorted(found, key=lambda index: -self.scores[index])

    def weights(self, words: Mapping[str, float]) -> Float[np.ndarray, " pieces"]:
        """How often each piece is met in running text of some words; sums to 1.

        Words are met as they stand, in a quarter of the cases with a capital letter, and in scripts
        without spaces behind another character instead of a space.

        Args:
            words: how often each is met, in any unit.
        """
        forms, shares = [], []
        for word, often in words.items():
            forms += [word, word[:1].upper() + word[1:]]
            shares += [often, often / 4]
            if any(script(one) in _SPACELESS for one in word):
                forms.append(f"\u3002{word}")
                shares.append(often)
        found = np.zeros(len(self))
        for ids, share in zip(self.read(forms), shares, strict=True):
            np.add.at(found, ids, share)
        return found / max(found.sum(), 1e-300)

    def cut(self, kept: Iterable[int]) -> tuple[Int[np.ndarray, " kept"], str]:
        """Leave out all other pieces.

        Args:
            kept: ids; those of `always` are added.

        Returns:
            The ids that are kept, rising: piece i of the new tokenizer was piece `ids[i]`; and the
            text of its tokenizer.json, in which nothing else is changed.
        """
        ids = sorted({*kept, *self.always()})
        new = {old: index for index, old in enumerate(ids)}
        spec, model = json.loads(json.dumps(self._spec)), self._spec["model"]
        spec["model"]["unk_id"] = new[self.unknown]
        spec["model"]["vocab"] = [model["vocab"][old] for old in ids]
        for token in spec["added_tokens"]:
            token["id"] = new[token["id"]]
        after = spec.get("post_processor") or {}
        for token in (after.get("special_tokens") or {}).values():
            token["ids"] = [new[old] for old in token["ids"]]
        for role in ("sep", "cls"):  # of a RobertaProcessing: [piece, id]
            if isinstance(after.get(role), list):
                after[role][1] = new[after[role][1]]
        return np.array(ids), json.dumps(spec, ensure_ascii=False)


def script(character: str) -> str:
    """The script of a letter or mark, as "LATIN"; empty for everything else."""
    if unicodedata.category(character)[0] not in "LM":
        return ""
    return unicodedata.name(character, "?").split(" ")[0]
