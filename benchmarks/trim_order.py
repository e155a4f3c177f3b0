"""Fewer pieces before fine-tuning or after it: what each language keeps.

    python benchmarks/trim.py --encoder e5                  # the encoder with all its pieces
    python benchmarks/trim_order.py e5 --out runs/trim_order --seeds 2

Pieces are chosen by the frequent words of the languages that are evaluated (wordfreq), without a
look at the task's texts. "after" trims a fine-tuned model and evaluates it as it is; "before" trims
the encoder and fine-tunes that. The same 1280 English rows of the bundled intents, epochs and rate.
A run that is done is not done again. A table of means over seeds is printed, and table.csv written.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

LANGUAGES = ("en", "de", "es", "fr", "it", "nl", "pl")
TOKENS = (8_000, 16_000, 24_000, 32_000)
ROOT = Path(__file__).parents[1]


def call(module: str, *arguments: object) -> None:
    command = [sys.executable, "-m", f"alignreg_jax.{module}", *map(str, arguments)]
    subprocess.run(command, check=True)


def run(encoder: Path, workdir: Path, seed: int, epochs: int) -> dict[str, float]:
    """Fine-tune, or with no epochs evaluate; per cent by language."""
    call(
        "main",
        *("--config", ROOT / "configs" / "demo.py:plain", "--workdir", workdir),
        *("--config.method=none", f"--config.seed={seed}", "--config.task.train_examples=1280"),
        f"--config.pruning.first_epochs={epochs}",
        f"--config.eval.languages={','.join(LANGUAGES)}",
        "--config.eval.every_phase_languages=",
        f"--config.model.name_or_path={encoder}",
    )
    last = json.loads((workdir / "results.json").read_text())["prune_steps"][-1]
    return {name: 100 * value for name, value in last["languages"].items()}


def trimmed(model: Path, out: Path, tokens: int) -> Path:
    if not out.exists():
        call("trim", model, "--out", out, "--languages", ",".join(LANGUAGES), "--tokens", tokens)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder", type=Path, help="with all its pieces")
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        own = options.out / f"s{seed}"
        whole = own / "whole"
        rows.append((seed, 250_002, "whole", run(options.encoder, whole, seed, 4)))
        for tokens in options.tokens:
            after = trimmed(whole / "export", own / f"model-{tokens}", tokens)
            rows.append((seed, tokens, "after", run(after, own / f"after-{tokens}", seed, 0)))
            before = trimmed(options.encoder, options.out / f"encoder-{tokens}", tokens)
            rows.append((seed, tokens, "before", run(before, own / f"before-{tokens}", seed, 4)))
    with (options.out / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "pieces", "trimmed", *LANGUAGES])
        for seed, tokens, when, scores in rows:
            writer.writerow([seed, tokens, when, *(f"{scores[name]:.2f}" for name in LANGUAGES)])
    print("| pieces | trimmed | en | others | worst | " + " | ".join(LANGUAGES[1:]) + " |")
    print("|" + "---|" * (5 + len(LANGUAGES[1:])))
    for tokens, when in dict.fromkeys((tokens, when) for _, tokens, when, _ in rows):
        found = [scores for _, each, how, scores in rows if (each, how) == (tokens, when)]
        means = {name: np.mean([each[name] for each in found]) for name in LANGUAGES}
        others = [means[name] for name in LANGUAGES[1:]]
        cells = [f"{tokens:,}", when, means["en"], np.mean(others), min(others), *others]
        shown = [each if isinstance(each, str) else f"{each:.1f}" for each in cells]
        print("| " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
