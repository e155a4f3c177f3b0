"""From the finished runs of a sweep's folder to its table."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.scoring import names
from alignreg_jax.reporting.sweeps.report import PAGE_FILE, write_sweep
from alignreg_jax.reporting.sweeps.runs import FinishedRun, SweepFacts
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.digests import Digests
from alignreg_jax.run.inputs import identify
from alignreg_jax.run.rows import load_data
from alignreg_jax.sweeping.config import SweepConfig
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.plan import Run

log = logging.getLogger(__name__)


def write_table(
    sweep: SweepConfig,
    planned: Sequence[Run],
    folder: Folder,
    cache: Cache,
    *,
    title: str,
    command: str,
) -> Path | None:
    """Write table.md, table.html and so on from every run that is done, whoever did it.

    Args:
        sweep: rows, tasks, seeds and readings.
        planned: all of its runs.
        folder: where they are.
        cache: data sets that have been read already.
        title: name of the sweep.
        command: the line that makes it again.

    Returns:
        table.html, or None when no run is done.

    A run whose files are damaged drops out of the table, which names it.
    """
    done = [run for run in planned if folder.done(run)]
    failures = [(run.name, folder.failure(run)) for run in planned if run not in done]
    finished: list[FinishedRun] = []
    first: dict[str, tuple[Run, Digests]] = {}  # of each task
    for run in done:
        try:
            known = identify(run.config, cache)
            result = _finished(run, folder, cache)
        except UserError as error:  # the data of a run that another machine has made
            failures.append((run.name, f"done, but its inputs cannot be read here: {error}"))
            continue
        trouble = ""
        if found := folder.other_inputs(run, known):
            trouble = f"from other inputs: {found}"
        elif found := _other_rows(first.setdefault(run.task, (run, known))[1], known):
            trouble = f"evaluated on other rows than {first[run.task][0].name}: {found}"
        if trouble:
            log.warning("%s is not counted: done, but %s", run.words, trouble)
            failures.append((run.name, f"done, but {trouble}"))
        else:
            finished.append(result)
    if not finished:
        if (folder.path / PAGE_FILE).exists():
            log.warning("%s is of an earlier start; no run counts now", folder.path / PAGE_FILE)
        return None
    told = tuple((name, line) for name, line in failures if line is not None)
    facts = sweep_facts(sweep, title=title, command=command)
    missing = len(planned) - len(finished) - len(told)
    return write_sweep(folder.path, replace(facts, failed=told, missing=missing), finished)


def sweep_facts(sweep: SweepConfig, *, title: str = "", command: str = "") -> SweepFacts:
    """What a table says of a sweep beside its runs."""
    return SweepFacts(
        title=title,
        rows=sweep.methods,
        tasks=sweep.tasks,
        seeds=sweep.seeds,
        remaining=sweep.remaining,
        baseline=sweep.baseline,
        command=command,
        comparisons=sweep.comparisons,
        at=sweep.tested_at,
    )


def _other_rows(one: Digests, other: Digests) -> str:
    """Languages and splits that are evaluated in both, on rows that differ."""
    ours, theirs = ({**known["rows"], "en.train": ""} for known in (one, other))
    return ", ".join(name for name in ours if ours[name] != theirs.get(name, ours[name]))


def _finished(run: Run, folder: Folder, cache: Cache) -> FinishedRun:
    data = load_data(run.config, cache)
    task, labels = data.dataset.task, data.dataset.labels

    def read() -> tuple[dict, dict]:
        splits = data.evaluation.items()
        gold = {key: names(split, split.labels, labels) for key, split in splits}
        queries = {key: split.text_a for key, split in splits}
        return gold, queries if "ndcg" in task.metrics else {}

    gold, queries = cache("gold", data, read)
    return FinishedRun(run.row, run.task, run.seed, folder.workdir(run), gold, queries)
