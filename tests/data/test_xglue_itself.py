"""XGLUE itself, for who has it: XGLUE_DIR=FOLDER pytest tests/data/test_xglue_itself.py.

The sizes are those that its loading script on the Hub once recorded; in POS, where that script
lost a sentence of every file, those of Universal Dependencies 2.5.
"""

import os

import pytest

from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task

pytestmark = pytest.mark.skipif("XGLUE_DIR" not in os.environ, reason="needs XGLUE's data")

TRAIN = {
    **{"xnli": 392_702, "nc": 100_000, "ner": 14_042, "pawsx": 49_401},
    **{"pos": 25_377, "qam": 100_000, "qadsm": 100_000, "wpr": 99_997},
}
EVERYWHERE = {"dev": {"xnli": 2490, "pawsx": 2000}, "test": {"xnli": 5010, "pawsx": 2000}}
SOME = {
    ("wpr", "dev"): "en 10008 de 10004 es 10004 fr 10005 it 10003 pt 10001 zh 10002",
    ("wpr", "test"): "en 10004 de 9997 es 10006 fr 10020 it 10001 pt 10015 zh 9999",
    ("ner", "dev"): "en 3252 de 2874 es 1923 nl 2895",
    ("ner", "test"): "en 3454 de 3007 es 1523 nl 5202",
    ("pos", "dev"): "ar 909 bg 1115 de 799 el 403 en 2002 es 1400 fr 1476 hi 1659 it 564 nl 718 "
    "pl 2215 pt 1210 ru 579 th 498 tr 988 ur 552 vi 800 zh 500",
    ("pos", "test"): "ar 680 bg 1116 de 977 el 456 en 2077 es 426 fr 416 hi 1684 it 482 nl 596 "
    "pl 2215 pt 1204 ru 601 th 498 tr 983 ur 535 vi 800 zh 500",
}


@pytest.mark.parametrize("name", TRAIN)
def test_sizes(name):
    path = os.environ["XGLUE_DIR"]
    data = load(get_task(name), source="folder", data_dir=path, languages=None)
    assert data.train.rows == TRAIN[name]
    for split in ("dev", "test"):
        found = {language: rows.rows for language, rows in getattr(data, split).items()}
        listed = SOME.get((name, split), "").split()
        expected = dict(zip(listed[::2], map(int, listed[1::2]), strict=True))
        same = EVERYWHERE[split].get(name, 10_000)
        assert found == (expected or dict.fromkeys(get_task(name).languages, same))
