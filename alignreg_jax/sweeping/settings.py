"""Whether a structure for each language beats one for all, from the runs of a sweep.

`python -m alignreg_jax.sweeping.settings --config FILE[:args] --workdir DIR [--config.FIELD=VALUE]`
reads DIR/results.csv, compares each row with @distill.text_languages=(LANGUAGE) with the row that
is the same without, in that language, and writes settings.md. Where the runs are still there it
draws which units two languages share: overlap.png.
"""

import io
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from alignreg_jax.pruning import masks, unit_cuts, units
from alignreg_jax.reporting import svg
from alignreg_jax.reporting.sweeps import settings
from alignreg_jax.reporting.sweeps.settings import Kept, Rows
from alignreg_jax.reporting.tables import count
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import prepared
from alignreg_jax.support import flags
from alignreg_jax.support.files import atomic_write
from alignreg_jax.sweeping import again
from alignreg_jax.sweeping.config import SweepConfig
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.plan import plan
from alignreg_jax.sweeping.table import sweep_facts

TABLE, PICTURE = "settings.md", "overlap.png"


def main(arguments: Sequence[str]) -> int:
    """Write the comparison and print it; the exit code is 0 or 2."""
    return flags.execute(arguments, lambda: str(__doc__), _run)


def _run(arguments: Sequence[str]) -> int:
    program, example = "alignreg_jax.sweeping.settings", "configs/settings_demo.py"
    folder, sweep = again.parse(arguments, program, example)
    rows, facts = settings.rows_of(sweep.methods), sweep_facts(sweep)
    whole = again.read(folder / "results.csv", facts, dict.fromkeys(sweep.tasks, 0.0))
    parts = []
    for task in sweep.tasks:
        for remaining in sweep.remaining:
            found = settings.compare(whole, rows, task, remaining)
            seeds = count(int(found.seeds.iloc[0]), "seed")
            title = f"## {task}, {100 * remaining:g} % of the encoder's weights, {seeds}"
            parts.append(f"{title}\n\n{settings.table(found)}")
    text = "\n".join(parts)
    atomic_write(folder / TABLE, text)
    print(text)
    if kept := _kept(sweep, rows, Folder(folder)):
        shares = settings.overlap(list(kept.values()))
        atomic_write(folder / PICTURE, svg.png(settings.overlap_figure(list(kept), shares)))
        print(folder / PICTURE)
    return 0


def _kept(sweep: SweepConfig, rows: Rows, folder: Folder) -> dict[str, Kept]:
    """Units that each language's network has at the end, of the first seed of the first task.

    Empty where a run is not there: results.csv alone does not say it.
    """
    labels = {label: language for language, label in rows.own.items()} | {rows.shared: "shared"}
    found, cache = {}, Cache()
    for run in plan(sweep):
        if (run.task, run.seed) != (sweep.tasks[0], sweep.seeds[0]) or run.row not in labels:
            continue
        path = folder.workdir(run) / "masks.npz"
        if not path.exists():
            return {}
        with np.load(io.BytesIO(path.read_bytes())) as file:
            kernels: Any = masks.unpack(file)
        architecture, _ = prepared(run.config, cache)
        shapes = units.shapes(kernels, architecture.layers[0].heads)
        like = {kind: np.empty(shape) for kind, shape in shapes.items()}
        found[labels[run.row]] = jax.device_get(unit_cuts.kept(kernels, like))
    return found


def run() -> None:
    """Entry point of the program."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
