"""What is built from a configuration."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny

from alignreg_jax.errors import UserError
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.run import assembly
from alignreg_jax.run.inputs import load_inputs

BASE = XlmrConfig(250002, 768, 12, 12, 3072, 514)


CPU = SimpleNamespace(device_kind="cpu")
V100 = SimpleNamespace(device_kind="Tesla V100", compute_capability="7.0")
MI250 = SimpleNamespace(device_kind="AMD Instinct MI250X", compute_capability="gfx90a")
A100 = SimpleNamespace(device_kind="A100", compute_capability="8.0")
B200 = SimpleNamespace(device_kind="B200", compute_capability="10.0")


@pytest.mark.parametrize(
    ("changes", "dtype", "device", "said"),
    [
        ({}, "bfloat16", CPU, "8.0 or newer, and this is cpu"),
        ({}, "bfloat16", V100, "8.0 or newer, and this is Tesla V100 7.0"),
        ({}, "bfloat16", MI250, "8.0 or newer, and this is AMD Instinct MI250X gfx90a"),
        ({}, "float32", A100, "needs model.dtype=bfloat16"),
        ({"num_heads": 4}, "bfloat16", A100, "the encoder's have 192"),
        ({"num_heads": 64}, "bfloat16", A100, "the encoder's have 12"),
    ],
)
def test_fused_attention_where_it_cannot_be(changes, dtype, device, said):
    with pytest.raises(UserError, match=f"^model.attention=cudnn .*{said}$"):
        assembly._attention("cudnn", replace(BASE, **changes), dtype, [device], 128)
    assert assembly._attention("auto", replace(BASE, **changes), dtype, [device], 128) == "einsum"


def test_fused_attention_says_that_it_has_no_dropout(caplog):
    caplog.set_level("INFO")
    still = replace(BASE, attention_dropout=0.0)
    assert assembly._attention("cudnn", still, "bfloat16", [B200], 128) == "cudnn"
    assert assembly._attention("auto", BASE, "bfloat16", [A100], 128) == "cudnn"
    assert not caplog.text
    assert assembly._attention("cudnn", BASE, "bfloat16", [A100], 128) == "cudnn"
    assert "attention dropout of 0.1 without it" in caplog.text


def test_attention_by_itself_is_fused_on_one_device_only():
    """On several, how cuDNN's kernel is divided has not been tried."""
    assert assembly._attention("auto", BASE, "bfloat16", [A100, A100], 128) == "einsum"
    assert assembly._attention("cudnn", BASE, "bfloat16", [A100, A100], 128) == "cudnn"
    assert assembly._attention("einsum", BASE, "bfloat16", [A100], 128) == "einsum"


@pytest.mark.parametrize(
    ("changes", "dtype", "devices", "length", "said"),
    [
        ({}, "bfloat16", [CPU], 128, "8.0 or newer, and this is cpu"),
        ({}, "bfloat16", [A100, A100], 128, "there are 2: how it is divided was not tried"),
        ({}, "float32", [A100], 128, "needs model.dtype=bfloat16"),
        ({"num_heads": 64}, "bfloat16", [A100], 128, "the encoder's have 12"),
        ({}, "bfloat16", [A100], 513, "these have up to 513"),
    ],
)
def test_one_kernel_with_dropout_where_it_cannot_be(changes, dtype, devices, length, said):
    with pytest.raises(UserError, match=f"^model.attention=fused .*{said}$"):
        assembly._attention("fused", replace(BASE, **changes), dtype, devices, length)


def test_one_kernel_with_dropout_is_taken_where_it_is_asked_for_alone():
    assert assembly._attention("fused", BASE, "bfloat16", [B200], 512) == "fused"
    assert assembly._attention("auto", BASE, "bfloat16", [B200], 512) == "cudnn"


@pytest.mark.parametrize(
    ("width", "devices", "said"),
    [
        (768, [V100], "8.0 or newer, and this is Tesla V100 7.0"),
        (768, [A100, A100], "there are 2: how it is divided was not tried"),
        (4104, [A100], "at most 4096 hidden units; this one has 4104"),
    ],
)
def test_one_kernel_for_a_halfs_end_where_it_cannot_be(width, devices, said):
    config = replace(BASE, hidden_size=width)
    with pytest.raises(UserError, match=f"^model.norm=fused .*{said}$"):
        assembly._norm("fused", config, devices)
    assert assembly._norm("plain", config, devices) == "plain"
    assert assembly._norm("fused", BASE, [B200]) == "fused"


@pytest.mark.parametrize(("value", "heard"), [("all", True), ("text", False)])
def test_what_the_teacher_speaks_about_is_the_steps_setting(world, monkeypatch, value, heard):
    config = tiny.configured(world, "--config.distill.teacher=dense")
    config = replace(config, distill=replace(config.distill, rows=value))
    inputs, made, real = load_inputs(config), [], assembly.steps.StepSettings

    def noting(**given):
        made.append(real(**given))
        return made[-1]

    monkeypatch.setattr(assembly.steps, "StepSettings", noting)
    model, phases = assembly.build_model(config, inputs), inputs.time_table(config)
    assembly.build_trainer(config, inputs, model, phases, [0], later=True)
    assert [settings.taught_labelled for settings in made] == [heard]
