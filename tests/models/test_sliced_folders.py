"""Folders of model_type xlm-roberta-sliced: written, read bit for bit, and refused where wrong."""

import json

import numpy as np
import pytest
import test_layers as cases
from checkpoint_folders import add_tokenizer
from hypothesis import HealthCheck, example, given, settings

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, saving
from alignreg_jax.models.slicing import sliced
from alignreg_jax.training.state import flatten

NAMES = ("a", "b", "c")


@pytest.fixture
def source(tmp_path):
    """Where tokenizer and all that is not an architecture come from."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"initializer_range": 0.05}))
    return add_tokenizer(folder, pieces=cases.CONFIG.vocab_size)


def save(source, units, head="token"):
    """A folder with these units, what is in it, and its architecture."""
    params, config = sliced(cases.parameters(head), cases.CONFIG, units)
    folder = source.parent / "to"
    saving.save(folder, params, config, head=head, labels=NAMES, source=source)
    return folder, params, config


def read(folder):
    return json.loads((folder / "config.json").read_text())


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(units=cases.UNEVEN)
@example(units=cases.pattern((0, 0), (0, 0)))
@example(units=cases.pattern((2, 2), (6, 6)))
@example(units=cases.pattern((4, 4), (0, 0)))
@given(units=cases.patterns)
def test_any_sizes_come_back_bit_for_bit(source, units):
    folder, params, config = save(source, units)
    found = checkpoints.load(folder, head="token", labels=NAMES, seed=0)
    assert found.config.layers == config.layers
    assert found.config == config
    assert not found.initialised
    assert not found.notes  # not even of the code in the folder: the graph here is the same
    leaves = flatten(found.params)
    expected = flatten(params)
    assert leaves.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_array_equal(leaves[path], leaf, err_msg=path)


def test_what_config_json_says_of_uneven_layers(source):
    folder, _, _ = save(source, cases.UNEVEN)
    said = read(folder)
    assert said["model_type"] == "xlm-roberta-sliced"
    assert said["architectures"] == ["XLMRobertaSlicedForTokenClassification"]
    assert (said["num_attention_heads"], said["intermediate_size"]) == ([2, 0], [0, 5])
    assert said["attention_head_size"] == cases.HEAD_SIZE
    assert said["initializer_range"] == 0.05
    assert said["auto_map"]["AutoConfig"] == "modeling_xlmr_sliced.XLMRobertaSlicedConfig"
    assert checkpoints.head_form(folder) == "token"
    code = (folder / "modeling_xlmr_sliced.py").read_text()
    assert all(f"class {name.split('.')[1]}(" in code for name in said["auto_map"].values())
    assert len(code.splitlines()) <= 150


def test_equal_lists_are_stacked_layers_and_what_is_stock_is_written_so(source):
    folder, _, config = save(source, cases.pattern((4, 4), (12, 12)))
    assert read(folder)["model_type"] == "xlm-roberta"
    assert not (folder / "modeling_xlmr_sliced.py").exists()
    lists = {"num_attention_heads": [4, 4], "intermediate_size": [12, 12]}
    sizes = {"model_type": "xlm-roberta-sliced", "attention_head_size": cases.HEAD_SIZE}
    (folder / "config.json").write_text(json.dumps(read(folder) | lists | sizes))
    assert checkpoints.read_config(folder) == config == cases.CONFIG
    checkpoints.check(folder, head="token", labels=NAMES)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("num_attention_heads", 2, "num_attention_heads is 2, not a list of 2 sizes"),
        ("num_attention_heads", [2], "not a list of 2 sizes"),
        ("intermediate_size", [2, -1], "not a list of 2 sizes"),
        ("intermediate_size", [2, True], "not a list of 2 sizes"),
        ("attention_head_size", None, "attention_head_size is None, not a usable int"),
        ("attention_head_size", 0, "attention_head_size is 0, not a usable int"),
        ("model_type", "xlm-roberta", "num_attention_heads is \\[2, 0\\], not a usable int"),
        ("num_hidden_layers", 3, "not a list of 3 sizes"),
    ],
)
def test_sizes_that_are_none(source, field, value, says):
    folder, _, _ = save(source, cases.UNEVEN)
    (folder / "config.json").write_text(json.dumps(read(folder) | {field: value}))
    with pytest.raises(UserError, match=rf"config\.json: .*{says}"):
        checkpoints.read_config(folder)


def test_sizes_that_are_not_those_of_the_tensors(source):
    folder, _, _ = save(source, cases.UNEVEN)
    said = read(folder)
    (folder / "config.json").write_text(json.dumps(said | {"num_attention_heads": [2, 1]}))
    with pytest.raises(UserError, match=r"layer\.1\.attention\..* has shape .*config\.json says"):
        checkpoints.check(folder, head="token", labels=NAMES)
    del said["attention_head_size"]
    (folder / "config.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="attention_head_size is missing"):
        checkpoints.read_config(folder)
