import pytest
from checkpoint_folders import BASE, add_tokenizer
from parity_cases import write_folder


@pytest.fixture
def folder(tmp_path):
    return add_tokenizer(write_folder(BASE, tmp_path / "source"))
