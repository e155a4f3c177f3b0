"""A sweep of the tiny world that is run to its end, and what it did meanwhile, as fixtures."""

import logging
import sys
from collections import Counter

import pytest
import tiny
import tiny_sweep

from alignreg_jax.reporting import report
from alignreg_jax.run import inputs as reading
from alignreg_jax.run import rows
from alignreg_jax.support import runtime
from alignreg_jax.support.progress import LogLines
from alignreg_jax.sweep import main
from alignreg_jax.sweeping import runner
from alignreg_jax.training.trainer import Trainer

BAD = "l2-mbp@train.learning_rate=1e38"  # a rate that no seed survives
FLAGS = [f"--config.methods={row}" for row in (*tiny_sweep.METHODS, BAD)]


class Bar(LogLines):
    """Keeps what it was told."""

    made = []  # noqa: RUF012

    def __init__(self, total, description, unit, *, steady):
        super().__init__(total, description, unit, 0)
        self.first_total = total
        Bar.made.append(self)


@pytest.fixture(scope="module", autouse=True)
def no_reports():
    """The pages of single runs have their own tests, and take a quarter of the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_report", lambda workdir: workdir / "report.html")
        yield


@pytest.fixture(scope="module")
def done(config, no_reports, tmp_path_factory):
    """The folder after one start, its exit code, what it compiled, trained and read."""
    folder = tmp_path_factory.mktemp("sweep") / "sweep"
    runtime.prepare()
    trained, reads = Counter(), Counter()
    dispatch, load, load_data = Trainer.dispatch, reading.checkpoints.load, rows.sources.load

    def counted(self, plan, **named):
        trained[sum(self.step >= start for start in (10, 15))] += len(plan.rows)
        return dispatch(self, plan, **named)

    def reader(name, real):
        def read(*arguments, **named):
            reads[name] += 1
            return real(*arguments, **named)

        return read

    # The program silences jax, but for this one
    logging.getLogger("jax._src.interpreters.pxla").setLevel(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch, tiny.compiled() as programs:
        patch.setattr(Trainer, "dispatch", counted)
        patch.setattr(reading.checkpoints, "load", reader("encoder", load))
        patch.setattr(rows.sources, "load", reader("data", load_data))
        patch.setattr(runner, "progress", Bar)
        patch.delitem(sys.modules, "config_config", raising=False)
        code = main(tiny_sweep.command(config, folder, *FLAGS))
    return folder, code, programs, trained, reads


@pytest.fixture
def folder(done):
    return done[0]
