from pathlib import Path

import pytest
from folder_cases import GOOD

import alignreg_jax
from alignreg_jax.data.encoding import load_tokenizer

DEMO_ENCODER = Path(alignreg_jax.__file__).parent / "demo" / "encoder"
DEMO_VOCABULARY = 10092  # rows of its word embedding


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer(DEMO_ENCODER, DEMO_VOCABULARY)


@pytest.fixture
def tokenizer_json():
    return (DEMO_ENCODER / "tokenizer.json").read_text("utf-8")


@pytest.fixture
def write_folder(tmp_path):
    """Write files into a folder of good English data; content None removes one."""

    def write(files=(), good=GOOD):
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        english = {f"en.{split}.jsonl": good for split in ("train", "dev", "test")}
        for name, content in {**english, **dict(files)}.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                (folder / name).write_bytes(content)
        return folder

    return write
