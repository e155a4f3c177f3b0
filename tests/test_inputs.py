from dataclasses import replace

import numpy as np
import pytest
import tiny

from alignreg_jax.config import (
    EvalConfig,
    ExperimentConfig,
    MeshConfig,
    ModelConfig,
    PruningConfig,
    TaskConfig,
    TrainConfig,
)
from alignreg_jax.errors import UserError
from alignreg_jax.inputs import load_inputs


@pytest.fixture
def config(world):
    return ExperimentConfig(
        model=ModelConfig(name_or_path=str(world.encoder)),
        task=TaskConfig(name="folder", source="folder", data_dir=str(world.data)),
        train=TrainConfig(batch_size=8),
        pruning=PruningConfig(steps=2),
        eval=EvalConfig(batch_size=8),
    )


def rows(inputs):
    return {key: encoded.rows for key, encoded in inputs.evaluation.items()}


def test_everything(config):
    inputs = load_inputs(config)
    assert inputs.dataset.labels == tiny.LABELS
    assert inputs.train.rows == tiny.ROWS["train"]
    assert rows(inputs) == {
        (split, language): tiny.ROWS[split]
        for split in ("test", "dev")
        for language in tiny.LANGUAGES
    }
    assert next(iter(inputs.evaluation)) == ("test", "en")
    assert inputs.max_length == tiny.POSITIONS - 2
    assert inputs.mesh.shape == {"data": 8, "fsdp": 1, "tensor": 1}
    assert inputs.encoder.params["head"]["out"]["kernel"].shape == (tiny.HIDDEN, 3)


def test_languages_of_any_phase_are_read_and_no_others(config):
    chosen = EvalConfig(languages=("en",), every_phase_languages=("de",), batch_size=8)
    languages = {language for _, language in load_inputs(replace(config, eval=chosen)).evaluation}
    assert languages == {"en", "de"}
    chosen = EvalConfig(every_phase_languages=("de",), batch_size=8)
    languages = {language for _, language in load_inputs(replace(config, eval=chosen)).evaluation}
    assert languages == set(tiny.LANGUAGES)


def test_first_rows_only(config):
    chosen = EvalConfig(examples=4, splits=("test",), batch_size=8)
    task = replace(config.task, train_examples=11)
    inputs = load_inputs(replace(config, eval=chosen, task=task))
    assert inputs.train.rows == 11
    assert rows(inputs) == {("test", language): 4 for language in tiny.LANGUAGES}
    whole = load_inputs(config)
    np.testing.assert_array_equal(inputs.train.ids, whole.train.ids[: len(inputs.train.ids)])


def test_max_length_cuts(config):
    inputs = load_inputs(replace(config, task=replace(config.task, max_length=8)))
    assert inputs.train.lengths.max() == inputs.max_length == 8


@pytest.mark.parametrize(
    ("section", "changes", "says"),
    [
        ("task", {"max_length": tiny.POSITIONS - 1}, r"task\.max_length=39.* 38 pieces"),
        ("task", {"name": "xquad"}, r"task\.name='xquad'"),
        ("task", {"data_dir": None}, r"task\.data_dir"),
        ("eval", {"languages": ("fi",)}, r"eval\.languages: no data for 'fi'; there is de, en, sw"),
        ("eval", {"every_phase_languages": ("fi",)}, r"eval\.every_phase_languages.*'fi'"),
        ("train", {"accumulation": 4}, r"train\.batch_size / train\.accumulation=2"),
        ("eval", {"batch_size": 12}, r"eval\.batch_size=12"),
        ("pruning", {"final": 1.5}, r"pruning\.final=1\.5"),
    ],
)
def test_errors_come_before_anything_is_said(config, capsys, caplog, section, changes, says):
    """A long tokenisation is not worth starting when the batch does not divide."""
    caplog.set_level("INFO")
    wrong = replace(config, **{section: replace(getattr(config, section), **changes)})
    with pytest.raises(UserError, match=says):
        load_inputs(wrong)
    assert capsys.readouterr().err == ""
    assert caplog.text == ""


def test_mesh_must_use_every_device(config):
    with pytest.raises(UserError, match="8 devices"):
        load_inputs(replace(config, mesh=MeshConfig(data=3)))


def test_no_data_of_the_wanted_split(config, world, tmp_path):
    data = tiny.copy(world.data, tmp_path / "data")
    for path in data.glob("*.test.jsonl"):
        if not path.name.startswith("sw"):
            path.unlink()
    task = replace(config.task, data_dir=str(data))
    only = EvalConfig(languages=("de",), splits=("test",), batch_size=8)
    with pytest.raises(UserError, match=r"eval\.splits"):
        load_inputs(replace(config, task=task, eval=only))
