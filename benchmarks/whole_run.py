"""A whole run's rate beside its steps': what saves and evaluations cost.

    python benchmarks/whole_run.py                  # three minutes on 2 idle cores
    python benchmarks/whole_run.py --small          # does the script work? figures mean little
    python benchmarks/whole_run.py --set model.dtype=bfloat16 --set train.batch_size=128

Trains the bundled encoder on rows of random words with the program itself: one dense phase, a cut,
a phase after it, an evaluation of three languages after each. The same run is made three times in
this process: once to compile, once without saves inside a phase, which gives the rate of the steps,
and once with a save after every few steps. Of each save it tells how long the loop waited (for the
copy to the host), and how long the rest was written and digested beside the steps. What a save
every ten minutes leaves of the step's rate is reckoned as if the steps had stood still for both: it
is at least that. The whole run's rate is that of the third, so short that evaluations, reading and
the first save are much of it; the rows evaluated for each one trained are told.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignreg_jax.config import ExperimentConfig, default_config, field_paths, resolve
from alignreg_jax.run import experiment, launch
from alignreg_jax.run.shared import Shared
from alignreg_jax.support import flags, runtime
from alignreg_jax.training.saving import Saver

LANGUAGES = ("en", "de", "sw")
LABELS = ("off", "on", "open")
MINUTES = 10.0  # checkpoint.every_minutes


@dataclass(frozen=True)
class Run:
    """What one run took.

    Attributes:
        examples: trained on.
        training: seconds in steps.
        whole: seconds from the first step to the end of the last evaluation.
        saves: inside phases and at their ends.
        held: seconds that the loop waited for saves to begin.
        beside: seconds that they were written and digested for, beside the steps.
        evaluated: rows.
        size: bytes of one save.
    """

    examples: float
    training: float
    whole: float
    saves: int
    held: float
    beside: float
    evaluated: int
    size: int


@dataclass(frozen=True)
class Figures:
    """What the runs say of each other; rates are examples per second."""

    step: float
    whole: float
    seconds_per_save: float

    def share(self, minutes: float) -> float:
        """What is left of the step's rate at a save every so many minutes, at least."""
        return 60 * minutes / (60 * minutes + self.seconds_per_save)


def figures(without: Run, with_saves: Run) -> Figures:
    """Compare a run whose only saves are at phases' ends with one that saves inside them, too."""
    return Figures(
        step=without.examples / without.training,
        whole=with_saves.examples / with_saves.whole,
        seconds_per_save=(with_saves.held + with_saves.beside) / with_saves.saves,
    )


class TimedSaver(Saver):
    """Counts saves, the time until the loop may go on, and that of the rest."""

    made: list["TimedSaver"] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.saves, self.held, self.beside = 0, 0.0, 0.0
        self.made.append(self)

    def start(self, saves: Iterable[Any]) -> None:
        """As it is, with the time that it takes."""
        begun = time.perf_counter()
        super().start(saves)
        self.held += time.perf_counter() - begun
        self.saves += 1

    def _finish(self, *arguments: Any) -> None:
        begun = time.perf_counter()
        super()._finish(*arguments)
        self.beside += time.perf_counter() - begun


def measure(config: ExperimentConfig, workdir: Path, shared: Shared) -> Run:
    """Make a run with the program, and read from its own files what it took."""
    original, experiment.Saver = experiment.Saver, TimedSaver
    try:
        begun = time.perf_counter()
        (results,) = launch.run(config, {config.seed: workdir}, "", time.monotonic(), shared)
        whole = time.perf_counter() - begun
    finally:
        experiment.Saver = original
    events = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    examples = sum(event["examples"] for event in events if event["kind"] == "train")
    saver = TimedSaver.made.pop()
    newest = max((workdir / "checkpoints").glob("*.json")).with_suffix("")
    return Run(
        examples=examples,
        training=examples / results["examples_per_second"],
        whole=whole,
        saves=saver.saves,
        held=saver.held,
        beside=saver.beside,
        evaluated=sum(
            sum(languages.values())
            for event in events
            if event["kind"] == "eval"
            for languages in event["examples"].values()
        ),
        size=sum(path.stat().st_size for path in newest.rglob("*") if path.is_file()),
    )


def write_rows(folder: Path, train: int, test: int) -> None:
    """Rows of random words, 4 to 24 of them, whose label the first word tells."""
    folder.mkdir()
    draw = random.Random(0)
    words = ["".join(draw.choices("aeioumnrst", k=draw.randint(2, 7))) for _ in range(500)]
    for language in LANGUAGES:
        for split, count in (("train", train), ("dev", test), ("test", test)):
            if split == "train" and language != "en":
                continue
            lines = []
            for index in range(count):
                text = " ".join([LABELS[index % 3], *draw.choices(words, k=draw.randint(4, 24))])
                lines.append(json.dumps({"text": text, "label": LABELS[index % 3]}) + "\n")
            (folder / f"{language}.{split}.jsonl").write_text("".join(lines))


def configured(data: Path, small: bool, changes: Sequence[str]) -> ExperimentConfig:
    """The run: no save by time."""
    config = default_config()
    fields: Mapping[str, object] = {
        "model.name_or_path": "demo",
        "task.name": "folder",
        "task.source": "folder",
        "task.data_dir": str(data),
        "task.max_length": 32,
        "train.learning_rate": 1e-4,
        "train.batch_size": 8,
        "train.freeze": ("embeddings",),
        "train.steps_per_dispatch": 2,
        "pruning.steps": 1,
        "pruning.first_epochs": 1 if small else 2,
        "pruning.epochs_per_step": 1,
        "checkpoint.every_minutes": 0.0,
        "export": False,
    }
    for path, value in fields.items():
        *section, name = path.split(".")
        setattr(config[section[0]] if section else config, name, value)
    flags.override(config, changes, field_paths())
    return resolve(config)


def row(*cells: str) -> None:
    """A line of a markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Make the runs and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer rows")
    parser.add_argument("--every", type=int, default=4, help="steps between two saves")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="changes")
    options = parser.parse_args()
    runtime.prepare()
    with tempfile.TemporaryDirectory() as name:
        folder, shared = Path(name), Shared()
        write_rows(folder / "data", *((64, 8) if options.small else (96, 32)))
        config = configured(folder / "data", options.small, options.changes)
        often = replace(config, checkpoint=replace(config.checkpoint, every_steps=options.every))
        measure(config, folder / "compiled", shared)
        without = measure(config, folder / "without", shared)
        with_saves = measure(often, folder / "with", shared)
    found = figures(without, with_saves)
    row("what", "figure")
    row("---", "---")
    row("examples/s of the steps", f"{found.step:.1f}")
    row("examples/s of the whole run, its saves and evaluations included", f"{found.whole:.1f}")
    row("ratio", f"{found.whole / found.step:.1%}")
    row("saves in it, of MB each", f"{with_saves.saves} of {with_saves.size / 1e6:.0f}")
    row("one save holds the loop for, s", f"{with_saves.held / with_saves.saves:.2f}")
    row(
        "and is written and digested beside it for, s",
        f"{with_saves.beside / with_saves.saves:.2f}",
    )
    row("rows evaluated for each one trained", f"{with_saves.evaluated / with_saves.examples:.2f}")
    row(
        f"at least, of the step's rate at a save every {MINUTES:g} minutes",
        f"{found.share(MINUTES):.2%}",
    )


if __name__ == "__main__":
    main()
