"""Folders of one file a language and split, written and read."""

import json

from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task

FOLDER = get_task("folder")


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


GOOD = lines({"text": "on", "label": "light"}, {"text": "loud", "label": "sound"})
PAIRS = lines(
    {"text": "a", "text_pair": "b", "label": "entailment"},
    {"text": "c", "text_pair": "d", "label": "neutral"},
)


def load_folder(folder, task=FOLDER, languages=None):
    return load(task, source="folder", data_dir=str(folder), languages=languages)
