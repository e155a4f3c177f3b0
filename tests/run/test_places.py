"""Which model a name means, and what is said where there is none."""

import logging

import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.run import places


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_demo_is_bundled_unless_a_command_finds_a_folder_of_that_name(tmp_path, caplog):
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    for find in (places.encoder, places.model):
        assert find("demo", "MODEL") == checkpoints.DEMO
    (tmp_path / "demo").mkdir()
    with caplog.at_level(logging.INFO):
        assert places.model("demo", "MODEL").resolve() == tmp_path / "demo"
    assert "demo is the folder ./demo here" in caplog.text
    assert places.encoder("demo") == checkpoints.DEMO, "what a run's config file says"


def test_a_run_is_no_model(tmp_path):
    run = tmp_path / "demo"
    run.mkdir()
    (run / "config.json").write_text('{"config": {"seed": 0}}')
    with pytest.raises(UserError, match=r"^MODEL=\./demo: is a run; it has no model yet"):
        places.model("demo", "MODEL")
    (run / "export").mkdir()
    with pytest.raises(UserError, match=r"^MODEL=\./demo: is a run; its model is demo/export$"):
        places.model("./demo", "MODEL")
    for seed in ("s1", "s0"):
        (tmp_path / "seeds" / seed).mkdir(parents=True)
        (tmp_path / "seeds" / seed / "config.json").write_text('{"config": {"seed": 0}}')
    with pytest.raises(UserError, match=r"a run for each seed; .* is seeds/s0/export$"):
        places.model("seeds", "MODEL")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/nope", "no such folder"),
        ("./nope", "no such folder"),
        ("../nope/", "no such folder"),
        ("~nobody-here/nope", "no such folder"),
        ("file", "is a file; give the folder of a model"),
    ],
)
def test_a_path_is_not_looked_for_on_the_hub(tmp_path, name, says):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        places.encoder(name)
    assert str(caught.value) == f"model.name_or_path={name}: {says}"


def test_a_hub_id_that_the_cache_lacks(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    says = r"^MODEL=no/such: no such folder, and not in the Hub's cache; HF_HUB_OFFLINE is set$"
    with pytest.raises(UserError, match=says):
        places.model("no/such", "MODEL")
