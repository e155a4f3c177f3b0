"""Small helpers shared by the build scripts in this folder (standard library only)."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def order(key: str, salt: str) -> str:
    """Return a stable sort key, for drawing a sample without a random-number generator."""
    return hashlib.md5(f"{salt}\t{key}".encode()).hexdigest()


def bucket(key: str, salt: str, count: int = 100) -> int:
    """Return a stable number in [0, count): an item falls into the same bucket on every machine."""
    return int(order(key, salt), 16) % count


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object per line, UTF-8, letters unescaped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
