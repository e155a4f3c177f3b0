from pathlib import Path

import pytest

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
