"""What to serve for so many megabytes and milliseconds: ways to a small model, side by side.

    python benchmarks/front.py runs/front --seeds 0 1 2    # trains and deploys: 45 minutes a seed
    python benchmarks/front.py runs/front --measure        # on an idle machine: times and table

Every row but the dense model, which has 160 steps with labels alone, is trained on the bundled
voice commands, English labels and text without labels in thirty languages: 160 dense steps, then
320 with the dense model as teacher; encoders that are small from the start have the same 480 with
the same teacher. Each is deployed in eight bits, some in four, and answers 200 test rows of each of
ten languages. `--measure` times all files of the first seed in turns and writes front.csv, front.md
and pictures of scores against megabytes and each time, without what costs most. On the front of a
cost is what nothing surpasses: as good and as cheap, and one better.

What is done is not done again. Computes in bfloat16, which is faster on a CPU that has instructions
for it. `--small` checks the script.
"""

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import alignreg_jax
from alignreg_jax.compress import folders
from alignreg_jax.compress.deployment.folder_files import machine
from alignreg_jax.compress.onnx import sessions
from alignreg_jax.models import checkpoints
from alignreg_jax.models.slicing import sliced
from alignreg_jax.reporting import figures, served, svg
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.starts import default_config, demo_config

SIZES = (0.75, 0.5, 0.35, 0.25)
SHAPES = ((1, 16), (1, 64), (32, 64))
CHANGED = "changed (%)"  # of the answers of all languages, to float32 of the same size
TEXT = "@distill.teacher=dense@distill.text=data"
LONG = TEXT + "@pruning.epochs_per_step=4"
EVEN = "@pruning.scope=units-even@pruning.criterion=taylor-units@pruning.depth=True"


class Row(NamedTuple):
    """A training: its preset and fields, and what of it is served."""

    label: str
    served: dict[str, dict[str, Any]]
    cut: tuple[float, int] | None = None  # shares of units and number of layers to begin with


INT8, INT4 = {"quantize": "int8"}, {"quantize": "int4"}
FEWER = {"coverage": 0.999, "languages": "de,es,fr,ru,fi,hi,ar,th,zh-CN"}
ROWS = {
    "dense": Row("none", {"float32": {"quantize": "none"}, "int8": INT8, "int4": INT4}),
    "single weights": Row(f"l2-mbp{TEXT}@pruning.epochs_per_step=1", {"25 % of weights": INT8}),
    "units": Row(
        f"elastic{LONG}",
        {f"{100 * size:g} % of units": INT8 | {"size": size} for size in (1, *SIZES)}
        | {f"{100 * size:g} % of units, int4": INT4 | {"size": size} for size in (1, *SIZES)}
        | {"50 % of units, pieces of its languages": INT8 | FEWER | {"size": 0.5}},
    ),
    "layers": Row(
        f"elastic@pruning.scope=layers@pruning.sizes=(1,0.75,0.5){LONG}",
        {f"{round(12 * size)} layers": INT8 | {"size": size} for size in (0.75, 0.5)}
        | {"6 layers, int4": INT4 | {"size": 0.5}},
    ),
    "both": Row(
        f"elastic{EVEN}@pruning.sizes=(1,0.75,0.5){LONG}",
        {
            "6 layers of half the units": INT8 | {"size": 0.5},
            "6 layers of half the units, int4": INT4 | {"size": 0.5},
        },
    ),
    "small, half of units": Row("none", {"small: half the units": INT8}, (0.5, 12)),
    "small, half of layers": Row("none", {"small: 6 layers": INT8}, (1, 6)),
    "small, both": Row("none", {"small: 6 layers of half the units": INT8}, (0.5, 6)),
}


def slug(name: str) -> str:
    """As a folder's name."""
    return re.sub(r"\W+", "-", name).strip("-")


def run_config(label: str, seed: int, small: bool) -> Any:
    """Of a run, as a sweep would have it."""
    base = demo_config(train_examples=1280, first_epochs=4, epochs_per_step=2, left=SIZES)
    base.export, base.model.dtype, base.eval.examples = True, "bfloat16", 200
    if small:
        base.task.train_examples, base.pruning.first_epochs, base.eval.examples = 64, 1, 8
        base.train.warmup_steps = 0
        base.distill.text_examples = 2
    return sweeps.run_config(sweeps.resolve(default_config(base)), label, "intents", seed)


def smaller(out: Path, units: float, layers: int) -> Path:
    """The bundled encoder with its layers evenly thinned and the largest units of each."""
    if out.exists():
        return out
    source = checkpoints.resolve("demo")
    network = folders.read(source).network
    config, encoder = network.config, network.params["encoder"]
    size = config.layers[0]
    sums = {
        "heads": np.square(np.asarray(encoder["attention"]["output"]["kernel"], np.float32)),
        "ffn": np.square(np.asarray(encoder["output"]["kernel"], np.float32)),
    }
    kept = {"layers": np.zeros(config.num_layers, bool)}
    kept["layers"][np.linspace(0, config.num_layers - 1, layers).round().astype(int)] = True
    for kind, many in (("heads", size.heads), ("ffn", size.ffn)):
        norms = sums[kind].reshape(config.num_layers, many, -1).sum(-1)
        places = np.argsort(-norms, axis=1)[:, : round(units * many)]
        kept[kind] = np.zeros(norms.shape, bool)
        np.put_along_axis(kept[kind], places, True, axis=1)
    params, config = sliced(network.params, config, kept)
    beside = out.with_name(f"{out.name}.part")
    checkpoints.save(beside, params, config, head=None, labels=(), source=source)
    beside.rename(out)
    return out


def train(name: str, row: Row, folder: Path, seed: int, small: bool) -> Path:
    """The workdir of a row's run, which is begun, continued or done."""
    workdir = folder / f"s{seed}" / slug(name)
    config = run_config(row.label, seed, small)
    if row.cut:
        begin = smaller(folder / f"encoder-{row.cut[0]:g}-{row.cut[1]}", *row.cut)
        teacher = folder / f"s{seed}" / "dense" / "export"
        # An epoch with text is twice as long: as many steps as the others have in all
        pruning = replace(config.pruning, first_epochs=1 if small else 6)
        distill = replace(config.distill, teacher=str(teacher.resolve()), text="data")
        model = replace(config.model, name_or_path=str(begin.resolve()))
        config = replace(config, pruning=pruning, distill=distill, model=model)
    if not (workdir / "report.html").exists():
        alignreg_jax.run(config, workdir)
    return workdir


def deploy(workdir: Path, name: str, options: dict[str, Any], rows: int) -> None:
    """Serve a form of a run, whatever its answers; the score says what it lost."""
    out = workdir / "served" / slug(name)
    if not out.exists():
        out.parent.mkdir(exist_ok=True)
        alignreg_jax.deploy(workdir, out, rows=rows, max_flips=100, threads=1, **options)


def facts_of(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """By form and seed what was kept of it, with the path of its file."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, row in ROWS.items():
        for form in row.served:
            for path in sorted(folder.glob(f"s*/{slug(name)}/served/{slug(form)}/deploy.json")):
                kept = served.chosen(json.loads(path.read_text()))
                file = "model.onnx" if kept["name"] == "fp32" else "model_quantized.onnx"
                kept["path"] = path.parent / "onnx" / file
                found.setdefault(form, {})[int(path.parents[3].name[1:])] = kept
    return found


def measure(folder: Path) -> None:
    """Time the first seed's files in turns; write the table and the pictures."""
    print(f"{machine()}; load, 1 minute: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    found = facts_of(folder)
    if not found:
        raise SystemExit(f"{folder}: nothing is deployed yet")
    models = [sessions.session(next(iter(of.values()))["path"], 1) for of in found.values()]
    few = 2_000  # pieces that all forms have
    times = {shape: sessions.milliseconds(models, *shape, few) for shape in SHAPES}
    lines = []
    for place, (form, of) in enumerate(found.items()):
        for seed, kept in of.items():
            compared = pd.DataFrame(kept["compared"].values())
            lines.append(
                {
                    "form": form,
                    "seed": seed,
                    "MB": kept["bytes"] / 1e6,
                    **{f"ms ({b} x {n})": times[b, n][place] for b, n in SHAPES},
                    "zero-shot mean (%)": kept["zero_shot_avg"],
                    "worst language (%)": kept["worst"]["value"],
                    "English (%)": kept["en"],
                    CHANGED: 100 * compared.flips.sum() / compared.answers.sum(),
                }
            )
    every = pd.DataFrame(lines)
    every.round(3).to_csv(folder / "front.csv", index=False)
    scores = list(served.SCORES)
    costs = [name for name in every.columns if name not in ("form", "seed", *scores, CHANGED)]
    means = every.groupby("form", sort=False)[[*costs, *scores, CHANGED]].mean()
    fronts = {cost: served.front(means, cost, scores[0]) for cost in costs}
    heads = ["form", "seeds", *costs, *scores, CHANGED, "on the front of"]
    text = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for form, numbers in means.iterrows():
        cells = [str(form), str(len(found[str(form)]))]
        cells += [f"{numbers[cost]:.{1 if cost == 'MB' else 2}f}" for cost in costs]
        cells += [f"{numbers[score]:.1f}" for score in (*scores, CHANGED)]
        on = ", ".join(cost for cost, forms in fronts.items() if form in forms)
        text.append("| " + " | ".join([*cells, on or "–"]) + " |")
    (folder / "front.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))
    for number, cost in enumerate(costs):
        drawn = figures.costs(means[means[cost] < means[cost].max()], cost, scores[:2])
        (folder / f"front{number}.png").write_bytes(svg.png(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where runs and served folders are kept")
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--measure", action="store_true", help="times, table and pictures")
    parser.add_argument("--small", action="store_true", help="check the script, not the scores")
    options = parser.parse_args()
    for seed in options.seeds:
        for name, row in ROWS.items():
            workdir = train(name, row, options.folder, seed, options.small)
            for form, how in row.served.items():
                deploy(workdir, form, how, 8 if options.small else 200)
    if options.measure:
        measure(options.folder)


if __name__ == "__main__":
    main()
