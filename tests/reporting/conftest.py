import pytest
from run_cases import write_run


@pytest.fixture
def make_run(tmp_path):
    """Writes a made-up run into a new workdir; returns its path."""
    return lambda **options: write_run(tmp_path / "run", **options)
