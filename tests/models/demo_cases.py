"""What of the demo encoder is compared with the original: sentences, and every text's pieces."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

import alignreg_jax

DATA = Path(alignreg_jax.__file__).parent / "demo" / "data"
LANGUAGES = ("en", "de", "ru", "hi", "th", "ko", "ar", "el")


def sentences() -> list[str]:
    """The longest test sentence of eight languages with as many scripts as they have."""
    texts = []
    for language in LANGUAGES:
        lines = (DATA / "intents" / f"{language}.test.jsonl").read_text("utf-8").splitlines()
        texts.append(max((json.loads(line)["text"] for line in lines), key=len))
    return texts


def rows() -> Iterator[tuple[str, list[str]]]:
    """Every bundled row with a label as running text and as words."""
    for path in sorted(DATA.rglob("*.jsonl")):
        if path.match("*.unlabelled.*"):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            words = row["tokens"] if "tokens" in row else row["text"].split()
            yield " ".join(words) if "tokens" in row else row["text"], words


def pieces_digest(tokenizer: Tokenizer) -> str:
    """Digest of the pieces, in text, of those rows in both forms."""
    texts, words = zip(*rows(), strict=True)
    encodings = tokenizer.encode_batch(list(texts))
    encodings += tokenizer.encode_batch(list(words), is_pretokenized=True)
    digest = hashlib.sha256()
    for encoding in encodings:
        pieces = map(tokenizer.id_to_token, encoding.ids)  # .tokens would hide an <unk>
        digest.update(" ".join(pieces).encode() + b"\n")
    return digest.hexdigest()
