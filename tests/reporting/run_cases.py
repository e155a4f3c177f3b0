"""A made-up run in a workdir: 31 languages, 7 evaluations, 12 layers of 6 kernels."""

import dataclasses
import json

import numpy as np

from alignreg_jax.reporting.results import Facts, csv_text, summary
from alignreg_jax.reporting.tracking import METRICS_FILE, Tracker, read_events
from alignreg_jax.support.files import atomic_write

LANGUAGES = (
    *(
        "ar",
        "bg",
        "ca",
        "cs",
        "da",
        "de",
        "el",
        "en",
        "es",
        "et",
        "eu",
        "fi",
        "fr",
        "gl",
        "he",
        "hu",
    ),
    *("id", "it", "ja", "ko", "lv", "nl", "pl", "pt", "pt_BR", "ro", "ru", "sl", "sv", "tr", "zh"),
)
IN_BETWEEN = ("de", "el", "en", "es", "fi", "fr", "hu", "ja", "ru", "tr")
KERNELS = (
    *("attention/query", "attention/key", "attention/value", "attention/output"),
    *("intermediate", "output"),
)
FACTS = Facts("intents", "frobenius-mbp", 1, "accuracy", 1 / 23, LANGUAGES)


TAGS = {"NOUN": 900, "VERB": 400, "SYM": 3}  # how often they occur


def tag_scores(language, value):
    """What a token task's event says of a language; Arabic has no symbols."""
    found = {}
    for place, (tag, support) in enumerate(TAGS.items()):
        share = max(value - 0.1 * place, 0.0)
        scores = {"precision": share + 0.01, "recall": share, "f1": share + 0.005}
        found[tag] = {**scores, "support": 0 if (language, tag) == ("ar", "SYM") else support}
    return found


def write_run(
    workdir, *, pruning_steps=6, between=IN_BETWEEN, layers=12, scope="global", penalty=True,
    token=False,
):  # fmt: skip
    """Write config.json, metrics.jsonl, results.csv and results.json as a real run would.

    `token` makes it a run of POS, with two metrics and scores of tags.
    """
    random = np.random.default_rng(0)
    level = dict(zip(LANGUAGES, random.uniform(0.35, 0.68, len(LANGUAGES)), strict=True))
    slope = dict(zip(LANGUAGES, random.uniform(0.02, 0.25, len(LANGUAGES)), strict=True))
    level["en"], slope["en"] = 0.925, -0.03
    norms = {kernel: 12 + 3 * random.random(layers) for kernel in KERNELS}
    norms["intermediate"] += 10
    norms["output"] += 14
    tracker = Tracker(workdir)
    step = 0
    for phase in range(pruning_steps + 1):
        remaining = 0.3138 ** (phase / max(pruning_steps, 1))
        kept = {kernel: np.full(layers, remaining) for kernel in KERNELS}
        if scope == "global":
            tilt = np.linspace(-0.35, 0.35, layers)
            kept = {k: np.clip(remaining + (1 - remaining) * tilt, 0, 1) for k in KERNELS}
        if phase:
            tracker.log(
                "prune", step=step, phase=phase, remaining=remaining, kept=1000, prunable=3000,
                kept_by_layer={kernel: (1000 * kept[kernel]).astype(int) for kernel in KERNELS},
                zero_columns=0,
            )  # fmt: skip
        for dispatch in range(60 if phase == 0 else 20):
            step += 4
            loss = 3.1 * np.exp(-step / 90) + 0.08 + 0.35 * bool(phase) * np.exp(-dispatch / 4)
            term = 0.02 * phase + 0.01 * (1 - np.exp(-dispatch / 9)) if penalty else 0.0
            tracker.log(
                "train", step=step, phase=phase, epoch=0, remaining=remaining, loss=loss + term,
                task_loss=loss + random.normal(0, 0.03), penalty=term, learning_rate=1e-4,
            )  # fmt: skip
        languages = LANGUAGES if phase in (0, pruning_steps) else between
        lost = {name: slope[name] * (phase / max(pruning_steps, 1)) ** 2 for name in LANGUAGES}
        correct = {name: round(383 * (level[name] - lost[name])) for name in languages}
        shares = {name: count / 383 for name, count in correct.items()}
        scores = {name: {"accuracy": share} for name, share in shares.items()}
        tags = {}
        if token:
            scores = {
                name: {"pos_xglue": share, "word_accuracy": share + 0.03}
                for name, share in shares.items()
            }
            tags["tags"] = {"test": {name: tag_scores(name, s) for name, s in shares.items()}}
        tracker.log(
            "eval", step=step, phase=phase, remaining=remaining, nonzero=0.98 * remaining,
            remaining_total=0.55 + 0.45 * remaining,
            scores={"test": scores}, **tags,
            examples={"test": dict.fromkeys(languages, 383)},
            weight_norms={k: norms[k] * (0.72 + 0.28 * remaining) for k in KERNELS},
            remaining_by_layer=kept,
        )  # fmt: skip
    tracker.close()
    events = read_events(workdir / METRICS_FILE)
    atomic_write(workdir / "results.csv", csv_text(events))
    facts = dataclasses.replace(FACTS, task="pos", metric="pos_xglue", chance=0.0)
    facts = facts if token else FACTS
    results = summary(events, facts, wall_seconds=412.7, examples_per_second=96.1)
    atomic_write(workdir / "results.json", json.dumps(results, indent=2))
    config = {
        "method": "frobenius-mbp",
        "seed": 1,
        "model": {"name_or_path": "demo", "head": "dense-tanh-out"},
        "pruning": {"scope": scope, "steps": pruning_steps, "schedule": "geometric"},
        "regularizer": {"name": "frobenius" if penalty else "none", "weight": 5e-4},
        "task": {"name": "intents", "source": "demo"},
    }
    versions = {"alignreg_jax": "0.1.0", "jax": "0.10.2", "python": "3.11"}
    document = {
        "config": config,
        "versions": versions,
        "commit": "0123abc",
        "devices": "cpu",
        "cores": 2,
        "command": "python -m alignreg_jax.main --config configs/demo.py",
    }
    atomic_write(workdir / "config.json", json.dumps(document, indent=2))
    return workdir


MODELS = {
    # name: bytes, milliseconds, English, zero-shot mean, changed answers of 100 German ones
    "dense": (102_000_000, 11.0, 94.5, 52.5, None),
    "original": (102_000_000, 11.0, 93.3, 46.9, None),
    "int8": (27_000_000, 5.0, 93.3, 46.7, 7),
    "q8": (26_000_000, 6.0, 93.0, 46.8, 1),
}


def deploy(folder, **changes):
    """Write deploy.json as `alignreg deploy` does; labels are missing where scores are None."""
    models = []
    for name, (size, time, english, mean, flips) in MODELS.items():
        told = {"answers": 100, "flips": flips, "scores": [48.0, 47.0], "difference": [-3.0, 1.0]}
        models.append(
            {
                **{"name": name, "bytes": size, "gzip": None, "milliseconds": {"1 x 16": time}},
                **{"en": english, "zero_shot_avg": mean},
                "worst": {"language": "de", "value": 25.0},
                "compared": {} if flips is None else {"de": told},
            }
        )
    facts = {
        **{"kept": "q8", "shapes": ["1 x 16"], "machine": "a <machine>", "threads": 1},
        **{"max_flips": 2.0, "refused": {"int8": ["de"]}, "models": models},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deploy.json").write_text(json.dumps(facts | changes))
    return folder
