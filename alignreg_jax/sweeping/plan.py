"""Which runs a sweep has, in which order, which of them belong together, and which shard has which.

Pure: configurations in, runs out. Nothing is read and nothing is started.
"""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.config.effects import is_default, value_at, without_effect
from alignreg_jax.errors import UserError
from alignreg_jax.run.dense import dense_key
from alignreg_jax.sweeping.config import SweepConfig, check_readings, overridden, run_config

_LONGEST = 100  # characters of a label in a folder's name; file systems take 255


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        row: label of its row in the table.
        task: label of its column.
        seed: its seed.
        config: resolved.
        name: its folder inside the sweep's, "intents/l2-mbp/s0".
        dense: what its dense phase depends on; runs with the same can share that phase.
    """

    row: str
    task: str
    seed: int
    config: ExperimentConfig
    name: str
    dense: str

    @property
    def words(self) -> str:
        """Its name for a line of the log."""
        return f"{self.task} {self.row} s{self.seed}"


def plan(sweep: SweepConfig) -> tuple[Run, ...]:
    """Every run: task by task, seed by seed, and within them those that share a dense phase.

    Raises:
        UserError: any run's configuration is wrong, or two rows or tasks are the same.
    """
    runs: list[Run] = []
    for task in sweep.tasks:
        # Seeds differ in nothing else, and a configuration takes a hundredth of a second
        configs = {row: run_config(sweep, row, task, sweep.seeds[0]) for row in sweep.methods}
        for seed in sweep.seeds:
            found = [_run(row, task, replace(config, seed=seed)) for row, config in configs.items()]
            _check_different(found)
            runs += [run for group in groups(found) for run in group]
        for run in runs:
            if (run.task, run.seed) == (task, sweep.seeds[0]):
                check_readings(sweep, run.row, task, run.config)
    for seed in sweep.seeds[:1]:
        for row in sweep.methods:
            _check_different([run for run in runs if (run.row, run.seed) == (row, seed)])
    return tuple(runs)


def check_given(runs: Sequence[Run], given: Collection[str], sweep: SweepConfig) -> None:
    """Refuse a field that is set for several runs, and that none of them uses.

    Args:
        runs: all that are planned.
        given: paths of the sweep's fields on the command line, such as "base.train.freeze".
        sweep: where their values are.

    Raises:
        UserError: names the field, as given or in a task's label.
    """
    of_base = {path.removeprefix("base.") for path in given if path.startswith("base.")}
    of_base = {path for path in of_base if not is_default(path, value_at(sweep.base, path))}
    wishes = [("base.", path, runs) for path in sorted(of_base)]
    for task in sweep.tasks:
        of_task = [run for run in runs if run.task == task]
        wishes += [(f"tasks: {task}: ", path, of_task) for path in sorted(overridden(task))]
    for where, path, concerned in wishes:
        reasons = [without_effect(run.config).get(path) for run in concerned]
        if all(reasons):
            raise UserError(f"{where}{path} has no effect: {reasons[0]}")


def groups(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs that can share their dense phase, together; in the order of the first of each."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.dense, []).append(run)
    return list(found.values())


def side_by_side(
    runs: Sequence[Run], most: int, stage: Callable[[Run], Hashable]
) -> list[list[Run]]:
    """Runs that differ in their seed alone, together; in the order of the first of each.

    Args:
        runs: in their order.
        most: at most so many together.
        stage: how far a run is; those that are not equally far stay apart.
    """
    found: list[list[Run]] = []
    open_: dict[Hashable, list[Run]] = {}
    for run in runs:
        key = run.task, run.row, stage(run)
        if key not in open_ or len(open_[key]) == most:
            open_[key] = []
            found.append(open_[key])
        open_[key].append(run)
    return found


def shard(runs: Sequence[Run], index: int, count: int) -> list[Run]:
    """The runs of shard `index` (from 1) of `count`: each run is in exactly one.

    A shard is a stretch of the runs in their order, in which those that share a dense phase are
    neighbours: shards are equally long, and few phases are trained by two of them.
    """
    ordered = [run for group in groups(runs) for run in group]
    return ordered[len(runs) * (index - 1) // count : len(runs) * index // count]


def parse_shard(text: str) -> tuple[int, int]:
    """Index and count of "2/8".

    Raises:
        UserError: not such a text, or an index beyond the count.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise UserError(f"--shard={text}: give I/N with I from 1 to N, for example 2/8")
    return index, count


def _run(row: str, task: str, config: ExperimentConfig) -> Run:
    name = f"{folder_name(task)}/{folder_name(row)}/s{config.seed}"
    return Run(row, task, config.seed, config, name, dense_key(config))


def folder_name(label: str) -> str:
    """A label as a folder's name; what a file system may not take is told apart by a digest."""
    safe = re.sub(r"[^\w.@=+-]+", "-", label, flags=re.ASCII)
    if safe == label and len(label) <= _LONGEST:
        return label
    return f"{safe[:_LONGEST]}-{blake2b(label.encode(), digest_size=4).hexdigest()}"


def _check_different(runs: Sequence[Run]) -> None:
    known: dict[ExperimentConfig, Run] = {}
    for run in runs:
        other = known.setdefault(replace(run.config, method=""), run)
        if other is not run:
            field = "methods" if run.task == other.task else "tasks"
            first, second = (other.row, run.row) if field == "methods" else (other.task, run.task)
            raise UserError(f"{field}: {first!r} and {second!r} are the same")
