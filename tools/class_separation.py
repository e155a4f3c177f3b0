#!/usr/bin/env python3
"""Print how well classes come apart inside a model, before and after each cut (paper, Figure 8).

    python tools/class_separation.py RUN [RUN ...]

Runs of texts, made with --config.export=steps; several are seeds of one row, of which the mean is
printed. The vector of a text is what the last layer makes of its first piece, which the head reads.
Of the rows that the run evaluates, each language's: the silhouette by cosine (Rousseeuw 1987;
scikit-learn), 1 where every class is a clump far from the others, 0 where they overlap, and
accuracy beside it.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_score

from alignreg_jax.compress import folders, served
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.data.encoding import load_tokenizer
from alignreg_jax.run import workdir
from alignreg_jax.run.export import FINAL, STEPS


def main() -> None:
    """Print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    found = pd.concat([of_run(run) for run in parser.parse_args().runs])
    if found.empty:
        raise SystemExit("no language has texts of two classes; runs that tag words have none")
    print("| weights | silhouette: en | others | worst | accuracy: en | others |")
    print("|---|---|---|---|---|---|")
    for _, step in found.groupby("step"):
        left = step.left.mean()
        others = step[step.language != "en"]
        worst = others.groupby("language").silhouette.mean().min()
        means = [each[kind].mean() for kind in ("silhouette", "accuracy")
                 for each in (step[step.language == "en"], others)]  # fmt: skip
        cells = [f"{means[0]:.3f}", f"{means[1]:.3f}", f"{worst:.3f}"]
        cells += [f"{100 * mean:.1f}" for mean in means[2:]]
        print(f"| {100 * left:.0f} % | " + " | ".join(cells) + " |")
    print(f"{len(found) // found.groupby(['step', 'language']).ngroups} runs, "
          f"{found.language.nunique()} languages")  # fmt: skip


def of_run(run: Path) -> pd.DataFrame:
    """A line a step and language: what is left, the silhouette, the run's own accuracy."""
    config = workdir.config_of(run)
    if config is None or not (run / STEPS).is_dir():
        raise SystemExit(f"{run}: no run that was made with --config.export=steps")
    if config.pruning.sizes:
        raise SystemExit(f"{run}: its sizes (pruning.sizes) are one model, not one a step")
    results = json.loads((run / "results.json").read_text())["prune_steps"]
    asked = served.of_run(run, config, (), sys.maxsize)
    lines = []
    for number, step in enumerate(results):
        folder = run / STEPS / str(number)
        for language, value in silhouettes(folder if folder.is_dir() else run / FINAL, asked):
            score = step["languages"][language]
            lines.append((number, step["remaining"], language, value, score))
    return pd.DataFrame(lines, columns=["step", "left", "language", "silhouette", "accuracy"])


def silhouettes(folder: Path, asked: served.Served) -> list[tuple[str, float]]:
    """Of every language with labels."""
    network = folders.read(folder).network._replace(head=None)
    tokenizer = load_tokenizer(folder, network.config.vocab_size)
    rows = asked.encoded(tokenizer, min(asked.max_length, network.config.max_length))
    found = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "encoder.onnx"
        graph.write(path, network)
        session = sessions.session(path)
        for language, encoded in rows.items():
            known = encoded.labels >= 0
            if encoded.per_token or len(np.unique(encoded.labels[known])) < 2:
                continue
            pad = network.config.pad_token_id
            vectors = sessions.answers(session, encoded, pad, 32, pooling="first")
            value = silhouette_score(vectors[known], encoded.labels[known], metric="cosine")
            found.append((language, float(value)))
    return found


if __name__ == "__main__":
    main()
