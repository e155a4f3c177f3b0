"""Read and tokenise 100,000 rows like those of XGLUE's NC; compare with datasets.map.

    python benchmarks/read_nc.py            # 100,000 rows, 200 MB of text
    python benchmarks/read_nc.py --small    # does the script work? figures mean little

Theirs is what a user would write: load_dataset("csv") told about XGLUE's format, then map(batched)
with transformers' tokenizer of the same tokenizer.json. Both in processes of their own, both from
nothing and then from their caches; both sides' ids must be equal. The peak is that of the process
in physical memory; what is resident after the imports, before anything is read, stands beside it.
Seconds are wall time, with as many threads as the tokenizer likes.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENCODER = ROOT / "alignreg_jax" / "demo" / "encoder"
TEXTS = ROOT / "alignreg_jax" / "demo" / "data" / "intents"
LANGUAGES = ("en", "de", "es", "fr", "ru")
COLUMNS = ["news_title", "news_body", "news_category"]
MAX_LENGTH = 256


def write(root: Path, rows: int) -> int:
    """Write a tree with that many training rows and ten others a file; returns their bytes."""
    draw = random.Random(0)
    lines = (TEXTS / "en.train.jsonl").read_text(encoding="utf-8").splitlines()
    words = sorted({word for line in lines for word in json.loads(line)["text"].split()})
    folder = root / "NC"
    folder.mkdir(parents=True)

    def row() -> str:
        body = min(int(draw.lognormvariate(5.4, 0.7)), 2000)
        texts = (" ".join(draw.choices(words, k=count)) for count in (10, body))
        return "\t".join((*texts, draw.choice(("sports", "news", "autos")))) + "\n"

    path = folder / "xglue.nc.en.train"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(row() for _ in range(rows))
    for language in LANGUAGES:
        for split in ("dev", "test"):
            text = "".join(row() for _ in range(10))
            (folder / f"xglue.nc.{language}.{split}").write_text(text, encoding="utf-8")
    return path.stat().st_size


def ours(root: Path) -> dict[str, Any]:
    from alignreg_jax.data import encoding, sources, tasks
    from alignreg_jax.support.caches import default_cache_dir
    from alignreg_jax.support.progress import progress

    tokenizer = encoding.load_tokenizer(ENCODER, 10092)
    resident = peak()
    start = time.perf_counter()
    data = sources.load(tasks.get_task("nc"), source="folder", data_dir=str(root), languages=None)
    read = time.perf_counter()
    with progress(data.train.rows, "tokenising", "rows") as bar:
        encoded = encoding.encode(
            data.train,
            tokenizer,
            MAX_LENGTH,
            cache_dir=default_cache_dir(),
            progress=bar.update,
        )
    end = time.perf_counter()
    digest = hashlib.sha256(encoded.ids.astype("<i4").tobytes()).hexdigest()
    return figures(encoded.rows, start, read, end, resident, digest)


def theirs(root: Path) -> dict[str, Any]:
    import numpy as np
    from datasets import ClassLabel, Features, Value, load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(ENCODER))
    resident = peak()
    start = time.perf_counter()
    data = load_dataset(
        "csv",
        data_files={"train": str(root / "NC" / "xglue.nc.en.train")},
        sep="\t",
        header=None,
        names=COLUMNS,
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        na_filter=False,
        skip_blank_lines=False,
        lineterminator="\n",
        features=Features({name: Value("string") for name in COLUMNS}),
    )["train"]
    data = data.cast_column("news_category", ClassLabel(names=["sports", "news", "autos"]))
    read = time.perf_counter()
    data = data.map(
        lambda batch: tokenizer(
            batch["news_title"], batch["news_body"], truncation=True, max_length=MAX_LENGTH
        ),
        batched=True,
        remove_columns=COLUMNS[:2],
    )
    end = time.perf_counter()
    digest = hashlib.sha256()
    for batch in data.iter(batch_size=1000):
        digest.update(
            np.concatenate([np.array(ids, "<i4") for ids in batch["input_ids"]]).tobytes()
        )
    return figures(len(data), start, read, end, resident, digest.hexdigest())


def figures(
    rows: int, start: float, read: float, end: float, resident: float, digest: str
) -> dict[str, Any]:
    return {
        "rows": rows,
        "read": read - start,
        "encode": end - read,
        "resident": resident,
        "peak": peak(),
        "digest": digest,
    }


def peak() -> float:
    """Most physical memory so far, in MiB; on Linux the kernel counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def run(side: str, root: Path, caches: Path) -> dict[str, Any]:
    """A side in a process of its own."""
    environment = {
        **os.environ,
        "ALIGNREG_CACHE": str(caches / "ours"),
        "HF_HOME": str(caches / "theirs"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, __file__, "--side", side, "--folder", str(root)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"ours": ours, "theirs": theirs}[arguments.side](arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root, caches = Path(temporary, "xglue"), Path(temporary, "caches")
        size = write(root, 2_000 if arguments.small else 100_000)
        print(f"{size / 2**20:.0f} MiB of text, {os.cpu_count()} cores")
        print("              rows/s  seconds to read, to tokenise  MiB at the peak, after imports")
        found = []
        for when in ("from nothing", "from cache"):
            for side in ("ours", "theirs"):
                one = run(side, root, caches)
                found.append((one["rows"], one["digest"]))
                rate = one["rows"] / (one["read"] + one["encode"])
                print(
                    f"{side:7} {rate:12,.0f} {one['read']:12.1f} {one['encode']:12.1f} "
                    f"{one['peak']:18,.0f} {one['resident']:8,.0f}   {when}",
                    flush=True,
                )
        if len(set(found)) > 1:
            raise SystemExit("the two sides differ in their ids")


if __name__ == "__main__":
    main()
