"""Every number of a configuration has bounds, below and above."""

import dataclasses
import json
import math
import re
import typing

import pytest
import tiny

from alignreg_jax import config as configuration
from alignreg_jax.config import ExperimentConfig, default_config, resolve
from alignreg_jax.config.checks import BOUNDS, plain_type
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.plan import plan


def numbers(section=ExperimentConfig, prefix=""):
    """Path and kind of every field that is a number or a tuple of numbers, and whether a tuple."""
    for field in dataclasses.fields(section):
        path = prefix + field.name
        if dataclasses.is_dataclass(field.type):
            yield from numbers(field.type, f"{path}.")
        kind = plain_type(field.type)
        if kind is tuple:
            lists = (field.type, *typing.get_args(field.type))  # with a None beside it, or without
            kind = next(typing.get_args(a)[0] for a in lists if typing.get_origin(a) is tuple)
        if kind in (int, float):
            yield path, kind, plain_type(field.type) is tuple


NUMBERS = {path: kind for path, kind, _ in numbers()}
LISTS = {path for path, _, several in numbers() if several}


def resolved(path, value):
    """The default configuration with one field changed, lists and tuples of one item alike."""
    values = default_config()
    *sections, name = path.split(".")
    section = values[sections[0]] if sections else values
    if path in LISTS:
        values.pruning.schedule, values.pruning.steps = "explicit", 1
        value = (value,)
    section[name] = value
    return resolve(values)


def test_every_number_has_bounds():
    assert set(BOUNDS) == set(NUMBERS)
    for path, bounds in BOUNDS.items():
        assert math.isfinite(bounds.least), path
        assert math.isfinite(bounds.greatest), path
        assert bounds.least < bounds.greatest, path


@pytest.mark.parametrize(("path", "kind"), NUMBERS.items())
def test_what_is_out_of_bounds_is_refused_by_name(path, kind):
    wrong = (-(2**70), 2**70) if kind is int else (-1e-6, -1e39, 1e39, math.nan, math.inf)
    for value in wrong:
        with pytest.raises(UserError, match=rf"^{path}=.*{re.escape(str(value))}") as error:
            resolved(path, value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.attention_dropout", 1.0),
        ("model.attention_dropout", 1.5),
        ("model.attention_dropout", -0.5),
        ("pruning.fraction", 1.0),
        ("pruning.final", 0.0),
        ("pruning.explicit", 1.01),
        ("train.learning_rate", 1e-50),
        ("regularizer.weight", 1e-39),
        ("seed", 2**32),
        ("seed", 2**63),
        ("data_seed", 2**64),
        ("mesh.data", 0),
        ("mesh.fsdp", -2),
        ("train.batch_size", 2**31),
    ],
)
def test_edges(path, value):
    with pytest.raises(UserError, match=f"^{path}="):
        resolved(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.attention_dropout", 0.0),
        ("model.attention_dropout", 0.999),
        ("pruning.fraction", 0.0),
        ("pruning.final", 1.0),
        ("pruning.final", 1e-9),
        ("pruning.explicit", 1.0),
        ("train.learning_rate", 0.0),
        ("seed", 2**32 - 1),
        ("data_seed", 2**32 - 1),
        ("train.batch_size", 1),
    ],
)
def test_within(path, value):
    resolved(path, value)


def test_the_last_of_several_seeds():
    config = default_config()
    config.seed, config.seeds = 2**32 - 2, 2
    resolve(config)
    config.seeds = 3
    with pytest.raises(UserError, match=r"^seed \+ seeds - 1=4294967296"):
        resolve(config)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("seeds", (2**32,), "seeds=4294967296"),
        ("seeds", (-1,), "seeds=-1"),
        ("remaining", (1.5,), "remaining=1.5"),
        ("remaining", (math.nan,), "remaining=nan"),
        ("together", -1, "together=-1"),
        ("together", 2**40, "together=1099511627776"),
        ("tested_at", -1.0, "tested_at=-1.0"),
        ("tested_at", 1.5, "tested_at=1.5"),
    ],
)
def test_numbers_of_a_sweep(name, value, says):
    config = sweeps.default_config()
    config[name] = value
    with pytest.raises(UserError, match=says):
        plan(sweeps.resolve(config))
    found = {
        name for name, field in sweeps.TABLE.items() if field.kind not in (str, tuple[str, ...])
    }
    tested = {"seeds", "remaining", "together", "tested_at"}
    assert found == tested, "a number that is not tested here"


@pytest.mark.parametrize("value", [1, 1.0, 1.5, -0.1, math.inf, math.nan])
@pytest.mark.parametrize(
    "field", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
)
def test_dropouts_of_an_encoder(world, tmp_path, field, value):
    encoder = tiny.copy(world.encoder, tmp_path / "encoder")
    path = encoder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UserError, match=rf"^{path}: {field} is "):
        checkpoints.read_config(encoder)


def test_lists_from_a_config_file_are_as_typed():
    config = default_config()
    config.eval.languages = ("de, sw", " is ", "or,no,")
    config.pruning.explicit = ("0.9, 0.8",)
    config.pruning.schedule, config.pruning.steps = "explicit", 2
    found = resolve(config)
    assert found.eval.languages == ("de", "sw", "is", "or", "no")
    assert found.pruning.explicit == (0.9, 0.8)
    assert configuration.to_dict(found)["pruning"]["explicit"] == [0.9, 0.8]


@pytest.mark.parametrize(("hook", "fits"), [("", True), ("m:f", True), ("m", False), (":f", False)])
def test_a_hook_has_the_form_of_a_function(hook, fits):
    config = default_config()
    config.tracking.hook = hook
    if fits:
        assert resolve(config).tracking.hook == (hook or None)
    else:
        with pytest.raises(UserError, match=f"^tracking.hook={hook}: should be module:function"):
            resolve(config)
