"""Tiny XLM-R checkpoints and batches on which our encoder and PyTorch's are compared.

Weights and ids come from RandomState, whose stream numpy keeps for good, so that the stored outputs
of PyTorch (tools/make_torch_reference.py) need no weights beside them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

REFERENCE = Path(__file__).parent / "reference"
NAMES = ("label0", "label1", "label2")
LABELS = len(NAMES)


@dataclass(frozen=True)
class Case:
    """A shape of encoder, by config.json's names, and a head."""

    name: str
    seed: int
    head: str
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    layer_norm_eps: float
    type_vocab_size: int = 1
    vocab_size: int = 60
    max_position_embeddings: int = 20
    literal_padding: bool = False

    @property
    def config(self) -> dict:
        """What config.json says; dropout is on, for evaluation must turn it off."""
        shape = {key: value for key, value in vars(self).items() if key not in ("name", "seed")}
        del shape["head"], shape["literal_padding"]
        fixed = {"model_type": "xlm-roberta", "pad_token_id": 1, "hidden_act": "gelu"}
        labels = {str(index): name for index, name in enumerate(NAMES)}
        return {**fixed, **shape, "bos_token_id": 0, "eos_token_id": 2, "id2label": labels}


CASES = {
    case.name: case
    for case in (
        Case("base", 1, "dense-tanh-out", 2, 32, 4, 64, 1e-5),
        Case("large", 2, "dense-tanh-out", 3, 24, 6, 48, 1e-5, vocab_size=50),
        Case("minilm", 3, "linear", 2, 24, 12, 96, 1e-12, type_vocab_size=2),
        Case("tokens", 4, "token", 2, 24, 4, 48, 1e-5),
        Case("padding", 5, "dense-tanh-out", 2, 24, 4, 48, 1e-5, literal_padding=True),
    )
}


def checkpoint(case: Case) -> dict[str, np.ndarray]:
    """The case's tensors under transformers' names, `[out, in]`, large enough to matter."""
    random = np.random.RandomState(case.seed)
    hidden, inner = case.hidden_size, case.intermediate_size
    tensors = {}

    def normal(name: str, *shape: int, mean: float = 0.0, deviation: float = 0.1) -> None:
        tensors[name] = (mean + deviation * random.randn(*shape)).astype(np.float32)

    def linear(name: str, columns: int, rows: int) -> None:
        normal(f"{name}.weight", rows, columns, deviation=columns**-0.5)
        normal(f"{name}.bias", rows)

    def layer_norm(name: str) -> None:
        normal(f"{name}.weight", hidden, mean=1.0)
        normal(f"{name}.bias", hidden)

    rows = {
        "word": case.vocab_size,
        "position": case.max_position_embeddings,
        "token_type": case.type_vocab_size,
    }
    for kind, count in rows.items():
        normal(f"roberta.embeddings.{kind}_embeddings.weight", count, hidden, deviation=0.5)
    layer_norm("roberta.embeddings.LayerNorm")
    for index in range(case.num_hidden_layers):
        layer = f"roberta.encoder.layer.{index}"
        for name in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{name}", hidden, hidden)
        linear(f"{layer}.attention.output.dense", hidden, hidden)
        layer_norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", hidden, inner)
        linear(f"{layer}.output.dense", inner, hidden)
        layer_norm(f"{layer}.output.LayerNorm")
    if case.head == "dense-tanh-out":
        linear("classifier.dense", hidden, hidden)
        linear("classifier.out_proj", hidden, LABELS)
    else:
        linear("classifier", hidden, LABELS)
    return tensors


LENGTHS = (10, 7, 3, 2)


def batch(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids `[4, 10]` padded with 1 to four different lengths, these lengths, and labels `[4]`.

    Of a token head labels are `[4, 10]`, -100 at padding and at every third piece. With
    `literal_padding` two rows contain padding's id inside, as the text "<pad>" gives it.
    """
    random = np.random.RandomState(case.seed + 100)
    ids = random.randint(3, case.vocab_size, size=(4, 10))
    ids[:, 0] = 0
    lengths = np.array(LENGTHS, np.int32)
    for row, length in enumerate(LENGTHS):
        ids[row, length - 1] = 2
        ids[row, length:] = 1
    if case.literal_padding:
        ids[0, 3:5] = ids[1, 1] = 1
    if case.head != "token":
        return ids.astype(np.int32), lengths, random.randint(0, LABELS, size=4).astype(np.int32)
    labels = random.randint(0, LABELS, size=ids.shape)
    labels[(np.arange(10) >= lengths[:, None]) | (np.arange(10) % 3 == 2)] = -100
    return ids.astype(np.int32), lengths, labels.astype(np.int32)


def write_folder(case: Case, folder: Path, dtype: type = np.float32) -> Path:
    """The case as a checkpoint folder without a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(case.config))
    tensors = {name: value.astype(dtype) for name, value in checkpoint(case).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def torch_outputs(case: Case) -> dict[str, np.ndarray]:
    """PyTorch's hidden states, logits, and gradients of the mean cross-entropy; dropout off."""
    import torch
    from transformers import (
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
        XLMRobertaForTokenClassification,
    )

    of_tokens = case.head == "token"
    kind = XLMRobertaForTokenClassification if of_tokens else XLMRobertaForSequenceClassification
    model = kind(XLMRobertaConfig(**case.config)).eval()
    if case.head == "linear":
        model.classifier = torch.nn.Linear(case.hidden_size, LABELS)
    state = {name: torch.from_numpy(value) for name, value in checkpoint(case).items()}
    model.load_state_dict(state, strict=True)
    ids, lengths, labels = (torch.from_numpy(array).long() for array in batch(case))
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    encoded = model.roberta(ids, attention_mask=mask, output_hidden_states=True)
    features = encoded.last_hidden_state
    logits = model.classifier(features[:, 0] if case.head == "linear" else features)
    if of_tokens:  # at padding nobody reads them
        logits = logits * mask[..., None]
    flat = logits.reshape(-1, LABELS)
    torch.nn.functional.cross_entropy(flat, labels.flatten()).backward()  # -100 is left out
    outputs = {"hidden": torch.stack(encoded.hidden_states), "logits": logits}
    outputs |= {f"grad/{name}": weight.grad for name, weight in model.named_parameters()}
    return {name: value.detach().numpy() for name, value in outputs.items()}
