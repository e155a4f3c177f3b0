"""What is built from a configuration."""

from dataclasses import replace

import pytest

from alignreg_jax import assembly
from alignreg_jax.errors import UserError
from alignreg_jax.models.xlmr import XlmrConfig

BASE = XlmrConfig(250002, 768, 12, 12, 3072, 514)


@pytest.mark.parametrize(
    ("changes", "dtype", "platform", "said"),
    [
        ({}, "bfloat16", "cpu", "needs a GPU, and this is a cpu"),
        ({}, "float32", "gpu", "needs model.dtype=bfloat16"),
        ({"num_heads": 4}, "bfloat16", "gpu", "the encoder's have 192"),
        ({"num_heads": 64}, "bfloat16", "gpu", "the encoder's have 12"),
    ],
)
def test_fused_attention_where_it_cannot_be(changes, dtype, platform, said):
    with pytest.raises(UserError, match=f"^model.attention=cudnn .*{said}$"):
        assembly._check_fused(replace(BASE, **changes), dtype, platform)


def test_fused_attention_says_that_it_has_no_dropout(caplog):
    caplog.set_level("INFO")
    assembly._check_fused(replace(BASE, attention_dropout=0.0), "bfloat16", "gpu")
    assert not caplog.text
    assembly._check_fused(BASE, "bfloat16", "gpu")
    assert "attention dropout of 0.1 without it" in caplog.text
