"""benchmarks/kernels.py: kernels, bytes and products of a compiled program, counted by hand."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")


PROGRAM = """HloModule jit_f, is_scheduled=true

%fused_slice (param_0: f32[12,8,4]) -> bf16[8,4] {
  %param_0 = f32[12,8,4]{2,1,0} parameter(0)
  %part = f32[1,8,4]{2,1,0} slice(%param_0), slice={[3:4], [0:8], [0:4]}
  %flat = f32[8,4]{1,0} bitcast(%part)
  ROOT %narrow = bf16[8,4]{1,0} convert(%flat)
}

%fused_update (param_0.1: f32[12,8,4], param_1: f32[1,8,4]) -> f32[12,8,4] {
  %param_0.1 = f32[12,8,4]{2,1,0} parameter(0)
  %param_1 = f32[1,8,4]{2,1,0} parameter(1)
  %zero = s32[] constant(0)
  ROOT %put = f32[12,8,4]{2,1,0} dynamic-update-slice(%param_0.1, %param_1, %zero, %zero, %zero)
}

%nested (lhs: bf16[16,8], rhs: bf16[8,4]) -> f32[16,4] {
  %lhs = bf16[16,8]{1,0} parameter(0)
  %rhs = bf16[8,4]{1,0} parameter(1)
  ROOT %dot = f32[16,4]{1,0} dot(%lhs, %rhs), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%gemm (param_0.2: bf16[16,8], param_1.1: bf16[8,4]) -> f32[16,4] {
  %param_0.2 = bf16[16,8]{1,0} parameter(0)
  %param_1.1 = bf16[8,4]{1,0} parameter(1)
  ROOT %block = f32[16,4]{1,0} fusion(%param_0.2, %param_1.1), kind=kCustom, calls=%nested
}

%body (state: (s32[], bf16[16,8])) -> (s32[], bf16[16,8]) {
  %state = (s32[], bf16[16,8]{1,0}) parameter(0)
  %count = s32[] get-tuple-element(%state), index=0
  %left = bf16[16,8]{1,0} get-tuple-element(%state), index=1
  %library = (f32[16,16]{1,0}, s8[64]{0}) custom-call(%left, %left), custom_call_target="gemm", \
backend_config={"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}
  ROOT %again = (s32[], bf16[16,8]{1,0}) tuple(%count, %left)
}

%condition (state.1: (s32[], bf16[16,8])) -> pred[] {
  %state.1 = (s32[], bf16[16,8]{1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (stack: f32[12,8,4], left.1: bf16[16,8], new: f32[1,8,4]) -> f32[16,4] {
  %stack = f32[12,8,4]{2,1,0} parameter(0)
  %left.1 = bf16[16,8]{1,0} parameter(1)
  %new = f32[1,8,4]{2,1,0} parameter(2)
  %sliced = bf16[8,4]{1,0} fusion(%stack), kind=kLoop, calls=%fused_slice, metadata={op_name="a/b"}
  %updated = f32[12,8,4]{2,1,0} fusion(%stack, %new), kind=kLoop, calls=%fused_update
  %start = (s32[], bf16[16,8]{1,0}) tuple(%left.1, %left.1)
  %loop = (s32[], bf16[16,8]{1,0}) while(%start), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %product = f32[16,4]{1,0} fusion(%left.1, %sliced), kind=kCustom, calls=%gemm
}
"""


def test_a_program_whose_kernels_are_known():
    from kernels import Program

    found = Program(PROGRAM).kernels
    assert [kernel.name for kernel in found] == ["sliced", "updated", *["library"] * 5, "product"]
    sliced, updated, library, *_, product = found
    assert sliced.origin == "a/b"
    assert (sliced.bytes, sliced.flops) == (32 * 4 + 32 * 2, 0)  # not the eleven other layers
    assert (updated.bytes, updated.flops) == (32 * 4 + 32 * 4, 0)  # what is put in, and where
    assert (library.bytes, library.flops) == (2 * 128 * 2 + 256 * 4 + 64, 2 * 16 * 16 * 8)
    assert (product.bytes, product.flops) == (128 * 2 + 32 * 2 + 64 * 4, 2 * 16 * 4 * 8)


@pytest.mark.sharded
def test_what_a_run_compiles_is_lowered_without_anything_in_place():
    import lowered

    from alignreg_jax.models.xlmr import XlmrConfig
    from alignreg_jax.pruning import methods
    from alignreg_jax.training import sharding

    config = XlmrConfig(64, 32, 2, 2, 64, 30)
    mesh = sharding.make_mesh(2, 2, 2)
    names = {"criterion": "movement", "scope": "kind", "regularizer": "scores"}
    learned = lowered.Lowering(config, mesh, methods.build(**names, mask_every=8))
    assert "stablehlo.while" in learned.step(4, 16, "kind").as_text()
    cut = learned.cut("kind")
    assert cut is not None
    assert "@main" in cut.as_text()
    units = methods.build(
        criterion="fisher-units", scope="units", regularizer="none", heads=config.num_heads
    )
    assert lowered.Lowering(config, mesh, units).cut("units") is None


def test_products_of_what_this_machine_compiles():
    """Each is counted once, also where a fusion holds it."""
    from kernels import Program

    def chain(first, second):
        return jnp.tanh(first @ second) @ second.T

    shapes = jax.ShapeDtypeStruct((64, 32), "float32"), jax.ShapeDtypeStruct((32, 48), "float32")
    found = Program(jax.jit(chain).lower(*shapes).compile().as_text()).kernels
    assert sum(kernel.flops for kernel in found) == 2 * (2 * 64 * 32 * 48)
