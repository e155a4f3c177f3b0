"""A model of every size, and times that are the files' bytes, for tests of budgets."""

import empties
import numpy as np
import pytest
import tiny

from alignreg_jax.compress import folders
from alignreg_jax.compress.deployment import comparing
from alignreg_jax.models import checkpoints
from alignreg_jax.pruning import size_files
from alignreg_jax.run import digests


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times are the files' bytes in thousands: what is smaller is faster; nothing is measured."""
    monkeypatch.setattr(comparing, "SHAPES", ((1, 16),))

    def time(lines, pieces, longest, threads=1, shapes=None):
        for batch, length in shapes or comparing.SHAPES:
            for line in lines:
                line.milliseconds[f"{batch} x {length}"] = line.path.stat().st_size / 1e3

    monkeypatch.setattr(comparing, "time", time)


@pytest.fixture(scope="module")
def elastic(world, tmp_path_factory):
    """A model of every size from one half on; its feed-forward units go one after the other."""
    folder = tmp_path_factory.mktemp("elastic") / "export"
    params, config = empties.load(world, "dense-tanh-out")
    saved = {"head": "dense-tanh-out", "labels": tiny.LABELS, "source": world.encoder}
    checkpoints.save(folder, params, config, **saved)
    tau = {
        "heads": np.full((2, 4), 0.1, np.float32),
        "ffn": np.linspace(0.1, 1, 128, dtype=np.float32).reshape(2, 64),
    }
    network = folders.read(folder).network
    own = digests.of_encoder(network.params, network.config)
    (folder / size_files.SIZES).write_bytes(size_files.Sizes(tau, 0.5, own).to_bytes())
    return folder
