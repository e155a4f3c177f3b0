"""The files of a deployed folder, where those who read such folders look for them.

transformers.js, optimum, sentence-transformers and fastembed take `onnx/model.onnx` and
`onnx/model_quantized.onnx`, with `config.json` and the tokenizer beside `onnx/`.
"""

import gzip
import io
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignreg_jax.compress import gate
from alignreg_jax.compress.deployment import account
from alignreg_jax.compress.deployment.comparing import BATCHES, Line
from alignreg_jax.compress.onnx import graph
from alignreg_jax.compress.served import Served
from alignreg_jax.models import saving
from alignreg_jax.models.architecture import (
    BERT,
    CONFIG,
    FIELDS,
    HEAD_SIZE,
    PLAIN_POSITIONS,
    SLICED,
    read_json,
)
from alignreg_jax.models.saving import TOKENIZER, TOKENIZER_CONFIG
from alignreg_jax.run.export import read_card
from alignreg_jax.support.files import atomic_write

if TYPE_CHECKING:
    from alignreg_jax.compress.deployment.deploy import Deployed, Wanted

FACTS, CARD, PREDICT = "deploy.json", "README.md", "predict.py"
FLOAT, QUANTIZED = "onnx/model.onnx", "onnx/model_quantized.onnx"

_HERE = Path(__file__).parent
_PACKAGES = ("alignreg_jax", "onnx", "onnxruntime", "tokenizers", "numpy")


def write(target: Path, source: Path, done: "Deployed", served: Served, wanted: "Wanted") -> None:
    """Write all files but those that stock transformers would need.

    Args:
        target: the new folder.
        source: of the original model.
        done: what was made; its files are moved.
        served: rows that were compared.
        wanted: how it was to be made.
    """
    (target / "onnx").mkdir()
    by_name = {line.name: line for line in done.lines}
    _move(by_name[done.floating], target / FLOAT)
    if done.kept:
        _move(by_name[done.kept], target / QUANTIZED)
    cut = done.folder
    _write_json(target / CONFIG, _config(source, cut, done))
    shutil.copyfile(cut / TOKENIZER, target / TOKENIZER)
    tokenizer = read_json(cut / TOKENIZER_CONFIG) if (cut / TOKENIZER_CONFIG).exists() else {}
    _write_json(target / TOKENIZER_CONFIG, {**tokenizer, "model_max_length": done.max_length})
    scripts = {"token": "predict_words.py", None: "predict_vectors.py"}
    shutil.copyfile(_HERE / scripts.get(done.network.head, "predict.py"), target / PREDICT)
    if done.network.head is None:
        saving.copy_sentence_files(source, target)
    facts = _facts(done, served, wanted)
    _write_json(target / FACTS, facts)
    code = (target / PREDICT).read_text(encoding="utf-8")
    atomic_write(target / CARD, account.card(read_card(source), done, served, facts, code))


def _move(line: Line, path: Path) -> None:
    """With the weights beside a large one; and say how large it is packed."""
    beside = line.path.with_name(f"{line.path.name}_data")
    if beside.exists():  # the graph has its name
        import onnx

        model = onnx.load(str(line.path))
        onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}_data")
    else:
        line.path.rename(path)
    line.path, line.size = path, graph.size(path)
    line.packed = _packed(path)


def _packed(path: Path) -> int:
    """Bytes of a graph and its weights, packed."""
    return sum(map(_gzipped, graph.files(path)))


def _gzipped(path: Path) -> int:
    counted = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=6) as packed,
        path.open("rb") as file,
    ):
        shutil.copyfileobj(file, packed, 1 << 20)
    return counted.tell()


def _config(source: Path, cut: Path, done: "Deployed") -> dict[str, Any]:
    """As stock transformers would write it; what it cannot say of the sizes in a field of ours."""
    config = read_json(cut / CONFIG)
    family = done.network.config.family
    if config.get("model_type") == SLICED:
        original = read_json(source / CONFIG)
        names = [FIELDS[name][0] for name in ("num_heads", "intermediate_size")]
        config["alignreg"] = {name: config[name] for name in (*names, HEAD_SIZE)}
        for name in ("auto_map", HEAD_SIZE, PLAIN_POSITIONS):
            config.pop(name, None)
        largest = {name: max(config[name]) for name in names}
        stated = {name: original[name] for name in names if isinstance(original.get(name), int)}
        config |= {"model_type": family, **largest, **stated}
        if family == BERT:
            config[FIELDS["max_positions"][0]] = done.network.config.max_length
    if done.network.head is None:
        config["architectures"] = ["BertModel" if family == BERT else "XLMRobertaModel"]
        return config
    kind = "token" if done.network.head == "token" else "dense-tanh-out"
    config["architectures"] = [saving.class_of(kind, family)]
    named = {str(number): label for number, label in enumerate(done.labels)}
    return {
        **config,
        "id2label": named,
        "label2id": {name: int(row) for row, name in named.items()},
    }


def _facts(done: "Deployed", served: Served, wanted: "Wanted") -> dict[str, Any]:
    """What was chosen and measured, for programs; the card says it to people."""
    config = done.network.config
    return {
        "file": QUANTIZED if done.kept else FLOAT,
        "kept": done.kept or done.floating,
        "labels": list(done.labels),
        "pairs": any(split.text_b is not None for split in served.rows.values()),
        "pooling": served.pooling,
        "max_length": done.max_length,
        "strip_space_marker": list(served.stripped),
        "pad": config.pad_token_id,
        "pieces": config.vocab_size,
        "size": wanted.cuts.size,
        "heads": [sizes.heads for sizes in config.layers],
        "ffn": [sizes.ffn for sizes in config.layers],
        "max_flips": wanted.max_flips,
        "noticed": _noticed(done, wanted.max_flips),
        "batches_compared": list(BATCHES),
        "rows": {language: split.rows for language, split in served.rows.items()},
        "portable": wanted.portable,
        "opset": graph.FUSED_OPSET if wanted.fused else graph.OPSET,
        "refused": {name: [each.language for each in bad] for name, bad in done.refused},
        "machine": machine(),
        "threads": wanted.threads,
        "shapes": list(done.lines[0].milliseconds),
        "versions": {name: _version(name) for name in _PACKAGES},
        "vocabulary": [
            {"of": loss.name, "texts": loss.texts, "pieces": loss.pieces,
             "unknown": loss.unknown[1], "unchanged": loss.unchanged}
            for loss in done.losses
        ],
        "models": [_line(line) for line in done.lines],
    }  # fmt: skip


def _noticed(done: "Deployed", most: float) -> float | None:
    """Per cent of other answers from which on a language is refused in four of five cases.

    In the language with the fewest answers; None: nothing was compared.
    """
    judged = next((line.judged for line in done.lines if line.judged), None)
    if judged is None:
        return None
    return gate.noticed(min(each.answers for each in judged), judged[0].tests, most)


def _line(line: Line) -> dict[str, Any]:
    judged = {
        each.language: {
            "answers": each.answers, "flips": each.flips, "surely": each.surely,
            "batch": each.batch, "scores": each.scores, "difference": each.difference,
        }
        for each in line.judged
    }  # fmt: skip
    return {
        "name": line.name,
        "bytes": line.size,
        "gzip": line.packed,
        "milliseconds": line.milliseconds,
        "scores": dict(line.scores),
        **line.summary,
        "compared": judged,
    }


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    atomic_write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
