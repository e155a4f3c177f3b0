"""What is told before an encoder is looked for, or data are read."""

from dataclasses import replace

import pytest
import tiny

from alignreg_jax.config import TrackingConfig
from alignreg_jax.errors import UserError
from alignreg_jax.run import early
from alignreg_jax.run.inputs import load_inputs


@pytest.fixture
def config(world):
    return tiny.configured(world, "--config.model.name_or_path=./nowhere")


def test_a_folder_without_data_is_told_before_the_encoder(config, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    given = replace(config, task=replace(config.task, data_dir=str(tmp_path)))
    with pytest.raises(UserError, match=r"has no <lang>\.<split>\.jsonl; a line of en\.train"):
        load_inputs(given)
    (tmp_path / "en.train.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"en\.dev\.jsonl: missing"):
        load_inputs(given)
    (tmp_path / "en.dve.jsonl").write_text("{")
    early.check(given)  # with what is wrong in the rows, later
    with pytest.raises(UserError, match="nowhere"):
        load_inputs(config)


def test_a_hook_is_looked_for(config):
    early.check(replace(config, tracking=TrackingConfig(hook="json:dumps")))
    with pytest.raises(UserError, match=r"^tracking\.hook=nope:log: .*No module named 'nope'"):
        early.check(replace(config, tracking=TrackingConfig(hook="nope:log")))
