import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from alignreg_jax.pruning import gates, masks
from alignreg_jax.pruning.kernels import KERNELS

KEY = jax.random.key(3)
LOG_11 = math.log(11)
GRID = (np.arange(2**16) + 0.5) / 2**16  # every number that `noise` can draw
SAMPLE = jax.jit(gates.sample)
NOISE = jax.jit(gates.noise)
EXPECTED = jax.jit(gates.expected_remaining)


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, np.float64)))


def open_probability(log_alpha):
    """Louizos et al., eq. 12, in float64."""
    return sigmoid(np.asarray(log_alpha, np.float64) + 2 / 3 * LOG_11)


def one_probability(log_alpha):
    """P(z = 1): by symmetry, for (1 - gamma) / (zeta - 1) is 11 as well."""
    return 1 - sigmoid(2 / 3 * LOG_11 - np.asarray(log_alpha, np.float64))


def samples(log_alpha, uniform=GRID):
    uniform = jnp.asarray(uniform, jnp.float32)
    return np.asarray(SAMPLE(jnp.full(uniform.shape, log_alpha, jnp.float32), uniform))


# --- one gate ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_alpha", "probability"),
    [
        (0.0, 0.8318222),
        (math.log(9), 0.978029),
        (-1.0, 0.645335),
        (4.60517, 0.997982),
        (-4.60517, 0.047130),
        (-LOG_11, 0.3101756),
    ],
)
def test_open_probability_oracles(log_alpha, probability):
    assert float(gates.open_probability(jnp.float32(log_alpha))) == pytest.approx(
        probability, abs=1e-6
    )
    assert open_probability(log_alpha) == pytest.approx(probability, abs=1e-6)


def test_sample_oracles():
    assert samples(1.0, [0.5])[0] == pytest.approx(0.8810894, abs=1e-6)
    assert samples(0.0, [0.5])[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("log_alpha", [-4.60517, -2.397895, -1.0, 0.0, 1.0, 2.197, 4.60517])
def test_closed_forms_are_the_shares_of_all_that_can_be_drawn(log_alpha):
    # Over all 65,536 numbers of `noise` a share is right to half a number.
    found = samples(log_alpha)
    assert np.mean(found != 0) == pytest.approx(open_probability(log_alpha), abs=1.01 * 2**-17)
    assert np.mean(found == 1) == pytest.approx(one_probability(log_alpha), abs=1.01 * 2**-17)


def test_monte_carlo_agrees_with_the_closed_forms():
    shape = dict.fromkeys(KERNELS, (1, 2, 2)) | {"intermediate": (1, 1000, 2000)}
    drawn = NOISE(KEY, {name: jnp.zeros(shape[name]) for name in KERNELS})["intermediate"]
    for log_alpha in (-1.0, 0.0, 2.197):
        found = samples(log_alpha, drawn)
        for event, probability in (
            (found != 0, open_probability(log_alpha)),
            (found == 1, one_probability(log_alpha)),
        ):
            deviation = np.sqrt(probability * (1 - probability) / drawn.size)
            assert abs(event.mean() - probability) < 4 * deviation


@pytest.mark.parametrize(
    ("log_alpha", "gate"),
    [(0.0, 0.5), (-2.3980, 0.0), (2.3980, 1.0), (-9.0, 0.0), (9.0, 1.0), (2.197, 0.98)],
)
def test_deterministic_oracles(log_alpha, gate):
    found = float(gates.deterministic(jnp.float32(log_alpha)))
    if gate in (0, 1):
        assert found == gate
    assert found == pytest.approx(gate, abs=1e-4)


def test_the_test_gate_is_open_where_the_log_odds_pass_11():
    around = jnp.asarray([-LOG_11 + 1e-3, LOG_11 - 1e-3], jnp.float32)
    assert np.all((np.asarray(gates.deterministic(around)) - [0, 1]) * [1, -1] > 1e-5)


@settings(deadline=None, max_examples=50)
@given(
    low=st.floats(-100, 100, width=32),
    high=st.floats(-100, 100, width=32),
    drawn=st.sampled_from([*GRID[:3], *GRID[-3:], *GRID[::4099]]),
)
def test_gates_grow_with_log_alpha_and_stay_in_the_unit_interval(low, high, drawn):
    ends = jnp.asarray(sorted((low, high)), jnp.float32)
    for found in (
        SAMPLE(ends, jnp.full(2, drawn, jnp.float32)),
        gates.deterministic(ends),
        gates.open_probability(ends),
    ):
        assert 0 <= found[0] <= found[1] <= 1


def test_the_gradient_of_a_sample_is_the_stretched_logistic_inside_and_zero_outside():
    # In float64, from the definition: dz/da = (zeta - gamma) / beta * s (1 - s) where 0 < z < 1.
    log_alpha = np.linspace(-6, 6, 101)
    for drawn in (GRID[0], 0.2, 0.5, 0.8, GRID[-1]):
        uniform = jnp.full(log_alpha.size, drawn, jnp.float32)
        found = jax.grad(lambda a, u=uniform: jnp.sum(gates.sample(a, u)))(
            jnp.asarray(log_alpha, jnp.float32)
        )
        share = sigmoid((np.log(drawn) - np.log1p(-drawn) + log_alpha) / (2 / 3))
        inside = (share * 1.2 - 0.1 > 0) & (share * 1.2 - 0.1 < 1)
        expected = np.where(inside, 1.2 * 1.5 * share * (1 - share), 0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert np.all(np.asarray(found)[~inside] == 0)


def test_a_gate_far_out_has_a_gradient():
    log_alpha = jnp.asarray([-1e4, -100, 100, 1e4], jnp.float32)
    uniform = jnp.asarray(GRID[[0, 30_000, -1]], jnp.float32)
    for function in (
        lambda a: jnp.sum(gates.sample(jnp.full(3, a), uniform)),
        gates.open_probability,
        gates.deterministic,
    ):
        values, gradients = jax.jit(jax.vmap(jax.value_and_grad(function)))(log_alpha)
        assert np.all(np.isfinite(values))
        np.testing.assert_array_equal(gradients, 0)


def test_the_gradient_of_the_open_probability():
    log_alpha = np.linspace(-8, 8, 41)
    found = jax.vmap(jax.grad(gates.open_probability))(jnp.asarray(log_alpha, jnp.float32))
    probability = open_probability(log_alpha)
    np.testing.assert_allclose(found, probability * (1 - probability), rtol=1e-5, atol=1e-7)


# --- noise -------------------------------------------------------------------------------------


def test_noise_is_on_the_grid_and_never_at_its_ends(make_kernels):
    drawn = NOISE(KEY, make_kernels(0, dtype=jnp.bfloat16))
    for name, numbers in drawn.items():
        assert numbers.dtype == jnp.float32
        steps = np.asarray(numbers, np.float64) * 2**16 - 0.5
        np.testing.assert_array_equal(steps, np.round(steps), name)
        assert steps.min() >= 0
        assert steps.max() <= 2**16 - 1


def test_noise_is_uniform():
    shape = dict.fromkeys(KERNELS, (1, 2, 2)) | {"output": (4, 256, 1024)}
    drawn = np.asarray(NOISE(KEY, {name: jnp.zeros(shape[name]) for name in KERNELS})["output"])
    counts = np.bincount((drawn.ravel() * 256).astype(int), minlength=256)
    expected = drawn.size / 256
    chi_square = np.sum((counts - expected) ** 2 / expected)
    assert abs(chi_square - 255) < 5 * np.sqrt(2 * 255)
    for axis in range(3):
        one = np.take(drawn, range(drawn.shape[axis] - 1), axis).ravel()
        other = np.take(drawn, range(1, drawn.shape[axis]), axis).ravel()
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(one.size)


def test_noise_differs_by_kernel_and_key_and_not_by_weights(make_kernels):
    drawn = NOISE(KEY, make_kernels(0))
    for one, other in itertools.combinations(("query", "key", "value", "output"), 2):
        assert not np.array_equal(drawn[f"attention/{one}"], drawn[f"attention/{other}"])
    again, next_step = NOISE(KEY, make_kernels(1)), NOISE(jax.random.fold_in(KEY, 1), drawn)
    for name in KERNELS:
        np.testing.assert_array_equal(drawn[name], again[name])
        assert not np.array_equal(drawn[name], next_step[name])


@pytest.mark.sharded
def test_noise_is_the_same_on_a_mesh(make_kernels):
    weights = make_kernels(0)
    mesh = jax.make_mesh((2, 2), ("rows", "columns"), axis_types=(AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(None, "rows", "columns"))
    sharded = jax.jit(gates.noise, out_shardings=sharding)(KEY, jax.device_put(weights, sharding))
    drawn = NOISE(KEY, weights)
    for name in KERNELS:
        assert sharded[name].sharding.is_equivalent_to(sharding, 3)
        np.testing.assert_array_equal(sharded[name], drawn[name])


# --- all gates ---------------------------------------------------------------------------------


@pytest.fixture
def standing(make_kernels):
    return {name: make_kernels(8)[name] > -0.5 for name in KERNELS}


def test_gates_start_open_and_the_test_network_is_the_dense_one(make_kernels):
    start = gates.init(make_kernels(0, dtype=jnp.bfloat16))
    for name, weights in make_kernels(0).items():
        assert start[name].dtype == jnp.float32
        np.testing.assert_array_equal(start[name], np.full(weights.shape, 2.4, np.float32))
        np.testing.assert_array_equal(gates.deterministic(start[name]), np.ones(weights.shape))
    assert EXPECTED(start, masks.ones(start)) == pytest.approx(0.982, abs=1e-4)


def test_fold_multiplies_by_the_test_gates(fill):
    weights = fill(output=[[2.0, -3.0], [5.0, -7.0]])
    log_alpha = fill(output=[[-3.0, 3.0], [0.0, -2.4]])
    folded = gates.fold(weights, log_alpha)
    assert folded["output"][0].tolist() == [[0, -3], [2.5, 0]]
    assert not np.any(folded["intermediate"])


def test_expected_remaining_is_the_share_of_all_weights(make_kernels, standing):
    log_alpha = make_kernels(1)
    kept = [open_probability(log_alpha[name])[np.asarray(standing[name])] for name in KERNELS]
    expected = np.concatenate(kept).sum() / 256
    assert 0 < expected < 0.7
    assert EXPECTED(log_alpha, standing) == pytest.approx(expected, abs=1e-6)


def test_expected_remaining_of_millions_of_equal_gates(fill):
    # Added up one by one in float32, sums above 2^21 would move in steps of 1/4.
    log_alpha = gates.init(fill(intermediate=np.zeros((768, 3072)), output=np.zeros((3072, 768))))
    expected = open_probability(np.float32(2.4))
    assert EXPECTED(log_alpha, masks.ones(log_alpha)) == pytest.approx(expected, rel=1e-5)


def test_expected_remaining_and_open_test_gates_disagree(make_kernels):
    # At -log 11 every test gate is shut, and 31 % of the samples are not.
    log_alpha = {name: jnp.full(each.shape, -2.398) for name, each in make_kernels(0).items()}
    assert all(not np.any(gates.deterministic(log_alpha[name])) for name in KERNELS)
    assert EXPECTED(log_alpha, masks.ones(log_alpha)) == pytest.approx(0.310153, abs=1e-5)


def test_a_gate_that_is_open_in_43_percent_of_samples_scales_its_weight_by_6_percent():
    log_alpha = jnp.float32(-1.8805)
    assert gates.open_probability(log_alpha) == pytest.approx(0.43, abs=1e-4)
    assert gates.deterministic(log_alpha) == pytest.approx(0.0588, abs=1e-4)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), lift=st.floats(2**-10, 5, width=32))
def test_expected_remaining_grows_with_gates_and_masks(make_kernels, seed, lift):
    log_alpha = make_kernels(seed)
    fewer = {name: log_alpha[name] > 0 for name in KERNELS}
    more = {name: log_alpha[name] > -1 for name in KERNELS}
    lifted = {name: log_alpha[name] + lift for name in KERNELS}
    assert EXPECTED(log_alpha, fewer) < EXPECTED(log_alpha, more) <= 1
    assert EXPECTED(log_alpha, fewer) < EXPECTED(lifted, fewer)


def test_the_gradients_of_the_lagrangian(make_kernels, standing):
    log_alpha, target = make_kernels(1), 0.69
    multipliers = {"linear": jnp.float32(-0.7), "quadratic": jnp.float32(1.3)}

    @jax.jit
    def loss(log_alpha, multipliers):
        sparsity = 1 - gates.expected_remaining(log_alpha, standing)
        return gates.lagrangian(sparsity, target, multipliers)

    value, (found, ascent) = jax.value_and_grad(loss, argnums=(0, 1))(log_alpha, multipliers)
    probability = {name: open_probability(log_alpha[name]) for name in KERNELS}
    kept = sum(float(np.sum(probability[name] * np.asarray(standing[name]))) for name in KERNELS)
    excess = 1 - kept / 256 - target
    assert abs(excess) > 0.01
    assert value == pytest.approx(-0.7 * excess + 1.3 * excess**2, abs=1e-6)
    assert ascent["linear"] == pytest.approx(excess, abs=1e-6)
    assert ascent["quadratic"] == pytest.approx(excess**2, abs=1e-6)
    slope = -(-0.7 + 2 * 1.3 * excess) / 256
    for name in KERNELS:
        each = slope * probability[name] * (1 - probability[name]) * np.asarray(standing[name])
        np.testing.assert_allclose(found[name], each, rtol=1e-4)
        assert np.all(np.asarray(found[name])[~np.asarray(standing[name])] == 0)


def test_the_lagrangian_reaches_its_target(make_kernels):
    # Gates descend, multipliers ascend; from too dense, and from too sparse.
    everything = masks.ones(make_kernels(0))

    def loss(log_alpha, multipliers):
        sparsity = 1 - gates.expected_remaining(log_alpha, everything)
        return gates.lagrangian(sparsity, 0.6, multipliers)

    @jax.jit
    def step(_, state):
        log_alpha, multipliers = state
        down, up = jax.grad(loss, argnums=(0, 1))(log_alpha, multipliers)
        log_alpha = jax.tree.map(lambda leaf, slope: leaf - 50 * slope, log_alpha, down)
        return log_alpha, jax.tree.map(lambda leaf, slope: leaf + slope, multipliers, up)

    for start in (2.197, -4.0):
        log_alpha = {name: jnp.full(each.shape, start) for name, each in make_kernels(0).items()}
        multipliers = {"linear": jnp.float32(0), "quadratic": jnp.float32(0)}
        log_alpha, multipliers = jax.lax.fori_loop(0, 500, step, (log_alpha, multipliers))
        assert EXPECTED(log_alpha, everything) == pytest.approx(0.4, abs=0.01)
        assert multipliers["quadratic"] > 0


def test_jit_equals_eager(make_kernels, standing):
    log_alpha = make_kernels(2)
    expected = float(gates.expected_remaining(log_alpha, standing))
    assert EXPECTED(log_alpha, standing) == pytest.approx(expected, rel=1e-6)
    one, drawn = log_alpha["output"], NOISE(KEY, log_alpha)["output"]
    np.testing.assert_allclose(SAMPLE(one, drawn), gates.sample(one, drawn), rtol=1e-5, atol=1e-7)
