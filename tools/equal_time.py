#!/usr/bin/env python3
"""Deploy what (d2) of docs/results/study compares: single weights, and units that are no slower.

    python tools/equal_time.py runs/study --out deployed.csv
    python tools/hypotheses.py docs/results/study/intents ... --deployed deployed.csv

Folders are workdirs of configs/study.py, run with --config.base.export=steps. Of every task and
seed two models with text are deployed in eight bits: `l2-mbp` at 31 %, and that unit model (of any
method and size) whose zero-shot mean over the tasks was the best in the other seeds, by what the
runs wrote: no seed chooses for itself. Any size is no slower, since zeros among single weights save
no time; both are timed to see that (1 x 16, one thread). A line of the table is a model: what it
weighs, takes and scores. Models in the table are not deployed again.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypotheses import AT, NEAR, UNITS

from alignreg_jax.compress import served
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.deploy import Wanted, deploy
from alignreg_jax.compress.onnx import sessions
from alignreg_jax.config.fields import ExperimentConfig
from alignreg_jax.reporting.served import chosen as form_of
from alignreg_jax.run import workdir
from alignreg_jax.run.export import FINAL, STEPS

WEIGHTS = "l2-mbp"
HEADS = (
    *("task", "seed", "method", "left", "MB", "ms", "zero_shot", "english", "worst"),
    "zero_shot_trained",
)

Place = tuple[str, int]
"""A method with text, and a step of its results."""


class Run(NamedTuple):
    """A run with text."""

    task: str
    seed: int
    method: str
    folder: Path
    config: ExperimentConfig
    steps: list[dict[str, Any]]


def main() -> None:
    """Deploy what is not yet in the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sweeps", type=Path, nargs="+", help="workdirs of sweeps")
    parser.add_argument("--out", type=Path, required=True, help="the table, begun or new")
    arguments = parser.parse_args()
    runs = found(arguments.sweeps)
    best = {seed: of_others(runs, seed) for seed in sorted({run.seed for run in runs})}
    pairs = {
        (task, seed): models(runs, task, seed, best[seed])
        for task, seed in sorted({(run.task, run.seed) for run in runs})
    }
    if arguments.out.exists():
        for task, seed in begun(arguments.out, pairs):
            del pairs[task, seed]
    else:
        arguments.out.write_text(",".join(HEADS) + "\n")
    for pair in pairs.values():
        lines = deployed(pair)
        with arguments.out.open("a") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
        print(*(" ".join(map(str, line)) for line in lines), sep="\n", flush=True)


def models(runs: Sequence[Run], task: str, seed: int, units: Place) -> list[tuple[Run, int]]:
    """The two runs that are compared, each with the step that is deployed of it."""
    own = {run.method: run for run in runs if (run.task, run.seed) == (task, seed)}
    for method in (WEIGHTS, units[0]):
        if method not in own:
            raise SystemExit(f"no run of {method} with text on {task}, seed {seed}")
    return [(own[WEIGHTS], at_31(own[WEIGHTS])), (own[units[0]], units[1])]


def begun(
    table: Path, pairs: Mapping[tuple[str, int], list[tuple[Run, int]]]
) -> set[tuple[str, int]]:
    """The tasks and seeds that the table has; its models have to be those that are chosen now."""
    done = set()
    with table.open() as file:
        for line in csv.DictReader(file):
            place = line["task"], int(line["seed"])
            chosen = [
                (run.method, round(run.steps[step]["remaining"], 3))
                for run, step in pairs.get(place, ())
            ]
            if (line["method"], float(line["left"])) not in chosen:
                raise SystemExit(
                    f"{table}: {line['method']} at {line['left']} on {place[0]}, seed {place[1]}, "
                    "is not what these runs choose; give another --out"
                )
            done.add(place)
    return done


def found(sweeps: Sequence[Path]) -> list[Run]:
    """The runs with text of single weights and of units that are done."""
    runs = []
    for path in sorted(path for sweep in sweeps for path in sweep.glob("*/*/s*/results.json")):
        config = workdir.config_of(path.parent)
        if config is None or not config.distill.text or config.method not in (WEIGHTS, *UNITS):
            continue
        folder = config.task.data_dir
        task = Path(folder).name if folder else config.task.name
        steps = json.loads(path.read_text())["prune_steps"]
        runs.append(Run(task, config.seed, config.method, path.parent, config, steps))
    for run in runs:
        if sum(run[:3] == other[:3] for other in runs) > 1:
            raise SystemExit(f"{run.task}, {run.method}, seed {run.seed} is there twice")
    return runs


def of_others(runs: Sequence[Run], seed: int) -> Place:
    """The unit model that is the best in the other seeds: of the mean over tasks, then seeds.

    A model for all sizes at its whole size has all units, and is none. Steps at which a run of
    another seed or task is missing are no candidates.
    """
    others = [run for run in runs if run.seed != seed]
    places: dict[Place, dict[tuple[str, int], float]] = {}
    for run in others:
        for number, step in enumerate(run.steps):
            if run.method != WEIGHTS and number and step["remaining"] < 1:
                means = places.setdefault((run.method, number), {})
                means[run.task, run.seed] = step["zero_shot_avg"]
    wanted = {(run.task, run.seed) for run in others}
    whole = {place: np.mean([*of.values()]) for place, of in places.items() if of.keys() == wanted}
    if not whole:
        raise SystemExit(f"no unit model is there in all tasks and seeds beside seed {seed}")
    return max(whole, key=lambda place: whole[place])


def at_31(run: Run) -> int:
    """The step at which 31 % are left."""
    for number, step in enumerate(run.steps):
        if abs(step["remaining"] - AT) < NEAR:
            return number
    raise SystemExit(f"{run.folder}: has no step with {100 * AT:.0f} % of the weights")


def deployed(pair: Sequence[tuple[Run, int]]) -> list[list[Any]]:
    """A line for each of two models, which are timed in turns."""
    lines, files, pieces = [], [], []
    with tempfile.TemporaryDirectory() as name:
        for number, (run, at) in enumerate(pair):
            step, out = run.steps[at], Path(name) / str(number)
            last = run.config.pruning.sizes or at == len(run.steps) - 1
            folder = run.folder / (FINAL if last else f"{STEPS}/{at}")
            rows = run.config.eval.examples or served.ROWS
            asked = served.of_run(run.folder, run.config, list(step["languages"]), rows)
            deploy(folder, out, asked, Wanted(Cuts(step.get("size")), ("int8",), max_flips=100.0))
            facts = json.loads((out / "deploy.json").read_text())
            form = form_of(facts)
            pieces.append(facts["pieces"])
            files.append(out / "onnx" / "model_quantized.onnx")
            scores = (form["zero_shot_avg"], form["en"], form["worst"]["value"])
            trained = 100 * step["zero_shot_avg"]
            cells = (step["remaining"], form["bytes"] / 1e6, *scores, trained)
            lines.append([run.task, run.seed, run.method, *(round(cell, 3) for cell in cells)])
        loaded = [sessions.session(file, 1) for file in files]
        times = sessions.milliseconds(loaded, 1, 16, min(pieces))
    for line, time in zip(lines, times, strict=True):
        line.insert(HEADS.index("ms"), round(time, 2))
    return lines


if __name__ == "__main__":
    main()
