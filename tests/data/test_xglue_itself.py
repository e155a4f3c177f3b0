"""XGLUE itself, for who has it: XGLUE_DIR=FOLDER pytest tests/data/test_xglue_itself.py."""

import os

import pytest

from alignreg_jax.data import xglue_sizes
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import TASKS, get_task

pytestmark = pytest.mark.skipif("XGLUE_DIR" not in os.environ, reason="needs XGLUE's data")


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.xglue])
def test_sizes(name):
    path = os.environ["XGLUE_DIR"]
    data = load(get_task(name), source="folder", data_dir=path, languages=None)
    assert data.train.rows == xglue_sizes.rows(name, "en", "train")
    for split in ("dev", "test"):
        found = {language: rows.rows for language, rows in getattr(data, split).items()}
        assert found == {
            language: xglue_sizes.rows(name, language, split)
            for language in get_task(name).languages
        }
