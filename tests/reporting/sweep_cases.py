"""Made-up sweeps on disk: runs whose predictions, scores and results fit together."""

import json
from itertools import chain
from pathlib import Path

import numpy as np

from alignreg_jax.evaluation.metrics import score
from alignreg_jax.evaluation.xglue_predictions import text
from alignreg_jax.reporting.results import Facts, csv_text, summary
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.runs import FinishedRun, SweepFacts

LABELS = ("stop", "go", "turn")
TAGS = ("O", "B-PER", "B-LOC")
LANGUAGES = ("de", "en", "ru", "th")
REMAINING = (1.0, 0.56, 0.3138, 0.18, 0.1)
READINGS = (0.3138, 0.1)
# Probability of a right answer, dense and at a tenth of the weights, in languages not trained on
SKILL = {
    **{"none": (0.62, 0.62), "random": (0.6, 0.2), "l2-mbp": (0.6, 0.45)},
    **{"cosine-mbp": (0.6, 0.46), "frobenius-mbp": (0.62, 0.58)},
}


def gold(task, examples=120):
    """The right answers of a task's test sets, as a sweep hands them over; XGLUE's have its own."""
    languages = paper.languages(task) or LANGUAGES
    random = np.random.default_rng(list(task.encode()))
    draws = {name: random.choice(LABELS, examples) for name in languages}
    return {("test", name): [str(label) for label in found] for name, found in draws.items()}


def gold_tags(task, sentences=60):
    """The same of a token task: two to five words a sentence."""
    random = np.random.default_rng(list(task.encode()))
    return {
        ("test", name): [list(map(str, random.choice(TAGS, size))) for size in sizes]
        for name, sizes in zip(LANGUAGES, random.integers(2, 6, (4, sentences)), strict=True)
    }


def write_run(
    workdir, row, task, seed, right, *, metric="accuracy", queries=None,
    remaining=REMAINING, evaluated=None, skill=None, save=True, spread=0.01, open_gates=1.0,
):  # fmt: skip
    """Write results.json, results.csv and predictions/; returns the finished run.

    `evaluated` maps a step to the languages it evaluates, all without it; `save` says whether
    predictions are written; `spread` is the deviation of a seed's skill; `open_gates` is the share
    of the kept weights that are not zero. With `metric`, `right` are the tags of a token task or,
    with `queries`, grades.
    """
    queries = queries or {}
    words = {key: [*chain(*labels)] if metric == "f1" else labels for key, labels in right.items()}
    choice = TAGS if metric == "f1" else tuple("01234") if queries else LABELS
    workdir = Path(workdir)
    random = np.random.default_rng([*row.encode(), *task.encode(), seed])
    dense, sparse = skill or SKILL[row]
    luck = random.normal(0, spread)
    # Some examples are hard for every model, and a model changes little from step to step
    hard = {
        key: np.random.default_rng(list(key[1].encode())).random(len(words[key])) for key in words
    }
    taste = {key: random.normal(0, 0.08, len(labels)) for key, labels in words.items()}
    events = []
    for step, at in enumerate(remaining[:1] if row == "none" else remaining):
        share = np.log(at) / np.log(0.1)
        scores, examples = {}, {}
        for (split, language), labels in right.items():
            if evaluated and language not in evaluated.get(step, [language]):
                continue
            level = 0.93 - 0.1 * share if language == "en" else dense + share * (sparse - dense)
            hit = hard[split, language] + taste[split, language] < level + luck
            known = words[split, language]
            others = [choice[(choice.index(label) + 1) % len(choice)] for label in known]
            said = [str(label) for label in np.where(hit, known, others)]
            if metric == "f1":
                tags = iter(said)
                said = [[next(tags) for _ in sentence] for sentence in labels]
            asked = queries.get((split, language), ())
            scores[language] = score([metric], labels, said, asked)
            examples[language] = len(labels)
            if save:
                path = workdir / "predictions" / str(step) / f"{language}.{split}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text(said))
        events.append(
            {
                **{"kind": "eval", "step": step, "phase": step, "remaining": at},
                **{"nonzero": at * open_gates, "remaining_total": 0.5 + at / 2},
                **{"scores": {"test": scores}, "examples": {"test": examples}},
            }
        )
    workdir.mkdir(parents=True, exist_ok=True)
    languages = [language for _, language in right]
    chance = 1 / len(LABELS) if metric == "accuracy" else 0.0
    facts = Facts(task.partition("@")[0], row, seed, metric, chance, languages)
    (workdir / "results.csv").write_text(csv_text(events))
    (workdir / "results.json").write_text(json.dumps(summary(events, facts)))
    return FinishedRun(row, task, seed, workdir, right, queries)


def write_runs(folder, rows=tuple(SKILL), tasks=("intents",), seeds=(0, 1, 2), **options):
    """A sweep's runs, one folder each."""
    folder = Path(folder)
    answers = options.pop("answers", gold)
    return [
        write_run(folder / f"{task}-{row}-s{seed}", row, task, seed, answers(task), **options)
        for task in tasks
        for row in rows
        for seed in seeds
    ]


def facts(rows=tuple(SKILL), tasks=("intents",), seeds=(0, 1, 2), **changes):
    """The facts of the sweep that `write_runs` writes."""
    fixed = {
        **{"title": "table1_demo", "remaining": READINGS, "baseline": "l2-mbp"},
        "command": "python -m alignreg_jax.sweep --config configs/table1_demo.py",
    }
    return SweepFacts(**{**fixed, "rows": rows, "tasks": tasks, "seeds": seeds, **changes})
