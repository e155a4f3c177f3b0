"""The architecture of an encoder, and the one that a Hugging Face config.json describes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from alignreg_jax.errors import UserError

Family = Literal["xlm-roberta", "bert"]
"""Of which of transformers' models the names of tensors and the positions are."""


class LayerSizes(NamedTuple):
    """Sizes of one encoder layer: attention heads, units of a head, feed-forward units."""

    heads: int
    head_size: int
    ffn: int


@dataclass(frozen=True)
class XlmrConfig:
    """The architecture, as a config.json of model_type xlm-roberta states it.

    `max_positions` counts the rows of the position table (514 in XLM-R base), of which the first
    `pad_token_id + 1` never serve a token. They are there in a model of model_type bert, too, whose
    file does without; its positions are counted over padding.

    Layers have equal sizes and stacked parameters, unless `heads` or `ffn` lists a size for each
    layer (0 is allowed): then every layer has parameters of its own. `with_sizes` chooses.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 1
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    classifier_dropout: float | None = None  # None: as hidden_dropout
    head_size: int | None = None  # None: hidden_size / num_heads
    heads: tuple[int, ...] | None = None  # of each layer; None: num_heads in all
    ffn: tuple[int, ...] | None = None  # of each layer; None: intermediate_size in all
    family: Family = "xlm-roberta"

    def __post_init__(self):
        for name in ("heads", "ffn"):
            listed = getattr(self, name)
            if listed is not None and len(listed) != self.num_layers:
                raise ValueError(f"{name} lists {len(listed)} layers of {self.num_layers}")

    @property
    def stacked(self) -> bool:
        """Whether encoder parameters carry a leading `[layers]` axis."""
        return self.heads is None and self.ffn is None

    @property
    def layers(self) -> tuple[LayerSizes, ...]:
        """The sizes of every layer."""
        head_size = self.head_size
        if head_size is None:
            head_size = self.hidden_size // self.num_heads
        heads = self.heads or (self.num_heads,) * self.num_layers
        ffn = self.ffn or (self.intermediate_size,) * self.num_layers
        return tuple(
            LayerSizes(count, head_size, units) for count, units in zip(heads, ffn, strict=True)
        )

    def with_sizes(self, heads: Sequence[int], ffn: Sequence[int]) -> "XlmrConfig":
        """The architecture with so many heads and feed-forward units in each layer.

        `num_heads` and `intermediate_size` become those of the largest layer.
        """
        head_size, most = self.layers[0].head_size, max(heads)
        uneven = len(set(heads)) > 1 or len(set(ffn)) > 1
        return replace(
            self,
            num_heads=most,
            intermediate_size=max(ffn),
            head_size=None if most * head_size == self.hidden_size else head_size,
            heads=tuple(heads) if uneven else None,
            ffn=tuple(ffn) if uneven else None,
        )

    @property
    def stock(self) -> bool:
        """Whether transformers' XLM-R, or BERT, can have these sizes.

        Its layers are equal, and their heads have hidden_size / num_attention_heads units.
        """
        return self.stacked and self.head_size is None and self.intermediate_size > 0

    @property
    def unused_positions(self) -> int:
        """Rows of the position table before that of the first piece."""
        return self.pad_token_id + 1

    @property
    def max_length(self) -> int:
        """Longest input in pieces, specials included."""
        return self.max_positions - self.unused_positions


CONFIG = "config.json"
STOCK, SLICED, BERT = "xlm-roberta", "xlm-roberta-sliced", "bert"
"""Values of model_type: transformers' own, ours, whose layers have sizes of their own, and BERT's
of encoders with XLM-R's tokenizer, such as multilingual-e5-small and Multilingual-MiniLM."""
_BERT_PAD = 1  # of XLM-R's tokenizer, whatever a BERT's config.json says: nothing depends on that
HEAD_SIZE, PLAIN_POSITIONS = "attention_head_size", "plain_positions"
"""Fields that a sliced config.json has beyond the stock ones: units of a head, and whether
positions are counted as BERT's."""
ADAPTER = "adapter_config.json"
# config.json's name of each field of XlmrConfig, and the value that transformers takes without it
_REQUIRED = object()
FIELDS: dict[str, tuple[str, type, Any]] = {
    "vocab_size": ("vocab_size", int, _REQUIRED),
    "hidden_size": ("hidden_size", int, _REQUIRED),
    "num_layers": ("num_hidden_layers", int, _REQUIRED),
    "num_heads": ("num_attention_heads", int, _REQUIRED),
    "intermediate_size": ("intermediate_size", int, _REQUIRED),
    "max_positions": ("max_position_embeddings", int, _REQUIRED),
    "type_vocab_size": ("type_vocab_size", int, 2),
    "layer_norm_eps": ("layer_norm_eps", float, 1e-12),
    "pad_token_id": ("pad_token_id", int, 1),
    "hidden_dropout": ("hidden_dropout_prob", float, 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", float, 0.1),
    "classifier_dropout": ("classifier_dropout", float, None),
}
_LISTED = ("num_heads", "intermediate_size")  # in a sliced config.json
# What the encoder here does not do; another value would silently give other numbers
_FIXED = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}


def read_config(folder: Path) -> XlmrConfig:
    """The architecture in the folder's config.json.

    Of model_type `xlm-roberta`, of `bert`, or of `xlm-roberta-sliced`, which lists heads and
    feed-forward units by layer and states the size of a head.

    Raises:
        UserError: no such file, not JSON, another model_type, a field missing or unusable, or an
            adapter, which transformers would add to the model.
    """
    if (folder / ADAPTER).exists():
        raise UserError(
            f"{folder / ADAPTER}: adapters are not read; merge this one into the model with peft's "
            "merge_and_unload, and save that"
        )
    path = folder / CONFIG
    raw = read_json(path)
    kind = raw.get("model_type")
    if kind not in (STOCK, SLICED, BERT):
        raise UserError(
            f"{path}: model_type is {kind!r}; what can be loaded is {STOCK!r}, and {BERT!r} with"
            " XLM-R's tokenizer (multilingual-e5-small, Multilingual-MiniLM)"
        )
    for field, value in _FIXED.items():
        if raw.get(field, value) != value:
            raise UserError(f"{path}: {field} is {raw[field]!r}, only {value!r} is supported")
    by_layer = _LISTED if kind == SLICED else ()
    values = {
        name: _value(raw, path, field, kind, default)
        for name, (field, kind, default) in FIELDS.items()
        if name not in by_layer
    }
    if kind == SLICED:
        values["head_size"] = _value(raw, path, HEAD_SIZE, int, _REQUIRED)
        if raw.get(PLAIN_POSITIONS) is True:
            values["family"] = "bert"
        sizes = [_sizes(raw, path, FIELDS[name][0], values["num_layers"]) for name in by_layer]
        return XlmrConfig(**values, num_heads=0, intermediate_size=0).with_sizes(*sizes)
    if values["hidden_size"] % values["num_heads"]:
        raise UserError(
            f"{path}: hidden_size {values['hidden_size']} is not a multiple of "
            f"num_attention_heads {values['num_heads']}"
        )
    if kind == BERT:
        values |= {"family": "bert", "pad_token_id": _BERT_PAD}
        values["max_positions"] += _BERT_PAD + 1
    return XlmrConfig(**values)


def _value(raw: dict[str, Any], path: Path, field: str, kind: type, default: Any) -> Any:
    value = raw.get(field, default)
    if value is _REQUIRED:
        raise UserError(f"{path}: {field} is missing")
    accepted = (int, float) if kind is float else int
    number = isinstance(value, accepted) and not isinstance(value, bool)
    below = 1 if kind is float else 2**31  # dropouts and epsilon; sizes
    least = default is _REQUIRED
    if not ((number and least <= value < below) or value is default is None):
        raise UserError(f"{path}: {field} is {value!r}, not a usable {kind.__name__}")
    return value


def _sizes(raw: dict[str, Any], path: Path, field: str, layers: int) -> list[int]:
    """A size for every layer, which may be 0."""
    listed = raw.get(field)
    if not (
        isinstance(listed, list)
        and len(listed) == layers
        and all(type(size) is int and 0 <= size < 2**31 for size in listed)
    ):
        raise UserError(f"{path}: {field} is {listed!r}, not a list of {layers} sizes")
    return listed


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError names the file if it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content
