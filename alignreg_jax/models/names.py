"""Which Hugging Face tensor is which slice of which parameter."""

from collections.abc import Iterable
from dataclasses import dataclass

from alignreg_jax.models.xlmr import Head, XlmrConfig

# Part of an encoder layer in transformers, and here; each has a weight and a bias.
_LAYER_MATRICES = {
    "attention.self.query": "attention/query",
    "attention.self.key": "attention/key",
    "attention.self.value": "attention/value",
    "attention.output.dense": "attention/output",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
}
_LAYER_NORMS = {
    "attention.output.LayerNorm": "attention/layer_norm",
    "output.LayerNorm": "layer_norm",
}
_TABLES = ("word", "position", "token_type")
_PREFIXES = {"xlm-roberta": "roberta.", "bert": "bert."}
_HEADS: dict[str, dict[str, str]] = {
    "dense-tanh-out": {"classifier.dense": "head/dense", "classifier.out_proj": "head/out"},
    "linear": {"classifier": "head/out"},
    "token": {"classifier": "head/out"},
    "label-words": {"lm_head.dense": "head/dense", "label_words": "head/out"},
}
# The pooler of BERT is what the dense layer of this head is
_BERT_POOLED = {"bert.pooler.dense": "head/dense", "classifier": "head/out"}
BESIDE = ("linear", "label-words")
"""Heads that no class of transformers has: they are in a file beside an `XLMRobertaModel`."""
_SKIPPED = ("lm_head.", "pooler.", "cls.")
_HEAD_NAMES = ("classifier.", "qa_outputs.", "label_words.")
_WRAPPERS = ("module.", "_orig_mod.", "model.")
WORD_EMBEDDING = "embeddings.word_embeddings.weight"
TIED = "lm_head.decoder.weight"
"""The word embedding again, as the last matrix of a language model's head."""


@dataclass(frozen=True)
class Slot:
    """Where a tensor goes: the leaf's path, the layer in its stack, whether it is `[out, in]`.

    `first` is the leaf's row for the tensor's first.
    """

    path: str
    layer: int | None = None
    transpose: bool = False
    first: int = 0

    @property
    def per_label(self) -> bool:
        """Whether the tensor has one row for every label."""
        return self.path.startswith("head/out/")

    @property
    def of_head(self) -> bool:
        """Whether it goes into the head."""
        return self.path.startswith("head/")


def canonical(name: str) -> str:
    """A tensor's name without the `roberta.` or `bert.` of models with a head."""
    prefix = next((each for each in _PREFIXES.values() if name.startswith(each)), "")
    return name.removeprefix(prefix)


def wrapper(names: Iterable[str]) -> str:
    """What a module around the model (DataParallel, torch.compile) put before every name, or ""."""
    left, found = list(names), ""
    while left:
        prefix = next((each for each in _WRAPPERS if all(n.startswith(each) for n in left)), None)
        if prefix is None:
            break
        left, found = [name.removeprefix(prefix) for name in left], found + prefix
    return found


def is_skipped(name: str) -> bool:
    """Whether a tensor has no place in a classifier: language-model head, pooler, position ids."""
    name = canonical(name)
    return name.startswith(_SKIPPED) or name.endswith("position_ids")


def is_head(name: str) -> bool:
    """Whether a tensor belongs to a classification head of any form."""
    return name.startswith(_HEAD_NAMES)


def name_table(config: XlmrConfig, head: Head | None) -> dict[str, Slot]:
    """One slot for every tensor of an exported checkpoint, each slice of each leaf exactly once.

    Layers of uneven sizes have leaves of their own, and the same names. Without a head the names
    are those of `XLMRobertaModel`.

    `dense-tanh-out` has the names of transformers' `XLMRobertaForSequenceClassification`, `token`
    those of `XLMRobertaForTokenClassification`; `linear` and `label-words` have those of
    `XLMRobertaModel`. For the head `linear` has `classifier.{weight,bias}`; `label-words` those of
    the head of `XLMRobertaForMaskedLM`, but for `label_words.{weight,bias}`, its rows in use. Of
    the family of BERT the names are those of its classes.
    """
    encoder: dict[str, Slot] = {}

    def matrix(into: dict[str, Slot], name: str, path: str, layer: int | None = None) -> None:
        into[f"{name}.weight"] = Slot(f"{path}/kernel", layer, transpose=True)
        into[f"{name}.bias"] = Slot(f"{path}/bias", layer)

    def layer_norm(into: dict[str, Slot], name: str, path: str, layer: int | None = None) -> None:
        into[f"{name}.weight"] = Slot(f"{path}/scale", layer)
        into[f"{name}.bias"] = Slot(f"{path}/bias", layer)

    bert = config.family == "bert" and config.stock
    for kind in _TABLES:
        first = config.unused_positions if bert and kind == "position" else 0
        slot = Slot(f"embeddings/{kind}/embedding", first=first)
        encoder[f"embeddings.{kind}_embeddings.weight"] = slot
    layer_norm(encoder, "embeddings.LayerNorm", "embeddings/layer_norm")
    for layer in range(config.num_layers):
        folder, place = ("encoder", layer) if config.stacked else (f"encoder/{layer}", None)
        for name, path in _LAYER_MATRICES.items():
            matrix(encoder, f"encoder.layer.{layer}.{name}", f"{folder}/{path}", place)
        for name, path in _LAYER_NORMS.items():
            layer_norm(encoder, f"encoder.layer.{layer}.{name}", f"{folder}/{path}", place)
    if head is None:
        return encoder

    prefix = "" if head in BESIDE else _PREFIXES["bert" if bert else "xlm-roberta"]
    table = {prefix + name: slot for name, slot in encoder.items()}
    pooled = bert and head == "dense-tanh-out"
    for name, path in (_BERT_POOLED if pooled else _HEADS[head]).items():
        matrix(table, name, path)
    if head == "label-words":
        layer_norm(table, "lm_head.layer_norm", "head/layer_norm")
    return table
