import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.pruning import masks, regularizers
from alignreg_jax.pruning.kernels import KERNELS

MATRICES = 2 * len(KERNELS)  # of the small trees


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def pair(make_kernels):
    """Pruned kernels and their reference, in the precision that is switched on."""

    def make(dtype=jnp.float32, seed=0):
        reference = make_kernels(seed, dtype=dtype)
        drifted = make_kernels(seed + 1, dtype=dtype)
        kept = {name: jnp.abs(reference[name]) > 0.2 for name in KERNELS}
        pruned = {name: reference[name] + 0.3 * drifted[name] for name in KERNELS}
        return masks.apply(pruned, kept), reference

    return make


def equation_2(pruned, reference):
    """Eq. 2 as printed, on one matrix, in numpy."""
    dots = np.abs(np.sum(pruned * reference, axis=0))
    return np.mean(dots / np.linalg.norm(pruned, axis=0) / np.linalg.norm(reference, axis=0))


def corrected_equation_5(pruned, reference):
    """The derivative of Eq. 2 with respect to the pruned matrix, in closed form."""
    dots = np.sum(pruned * reference, axis=0)
    lengths = np.linalg.norm(pruned, axis=0)
    others = np.linalg.norm(reference, axis=0)
    bracket = reference / (others * lengths) - pruned * dots / (others * lengths**3)
    return np.sign(dots) / pruned.shape[1] * bracket


# --- cosine ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "pruned", "similarity", "gradient"),
    [
        ([[3.0], [4.0]], [[3.0], [0.0]], 0.6, [[0.0], [0.8 / 3]]),
        ([[1.0, 0], [1, 2]], [[1.0, 0], [0, -2]], (0.5**0.5 + 1) / 2, [[0, 0], [0.125**0.5, 0]]),
    ],
)
def test_cosine_oracles(float64, fill, reference, pruned, similarity, gradient):
    reference = fill(jnp.float64, output=reference)
    pruned = fill(jnp.float64, output=pruned)
    found = regularizers.cosine_similarity(pruned, reference)
    assert found["output"][0] == pytest.approx(similarity, abs=1e-15)
    derivative = jax.grad(
        lambda tree: regularizers.cosine_similarity(tree, reference)["output"].sum()
    )(pruned)
    np.testing.assert_allclose(derivative["output"][0], gradient, atol=1e-15)


def test_cosine_is_minus_the_mean_of_equation_2_over_all_matrices(float64, pair):
    pruned, reference = pair(jnp.float64)
    expected = [
        equation_2(np.asarray(pruned[name][layer]), np.asarray(reference[name][layer]))
        for name in KERNELS
        for layer in range(2)
    ]
    assert len(expected) == MATRICES
    assert regularizers.cosine(pruned, reference) == pytest.approx(-np.mean(expected), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_gradient_equals_the_corrected_equation_5(float64, pair, seed):
    pruned, reference = pair(jnp.float64, seed=seed)
    gradient = jax.jit(jax.grad(regularizers.cosine))(pruned, reference)
    for name in KERNELS:
        assert gradient[name].dtype == jnp.float64
        for layer in range(2):
            one = np.asarray(pruned[name][layer]), np.asarray(reference[name][layer])
            expected = -corrected_equation_5(*one) / MATRICES
            np.testing.assert_allclose(gradient[name][layer], expected, atol=1e-10, rtol=0)
            assert np.abs(expected).max() > 1e-5


def test_cosine_over_the_whole_layer_is_equation_2_of_one_long_column(float64, pair):
    pruned, reference = pair(jnp.float64)
    found = regularizers.cosine_similarity(pruned, reference, per_unit=False)
    for name in KERNELS:
        for layer in range(2):
            long = [np.reshape(tree[name][layer], (-1, 1)) for tree in (pruned, reference)]
            assert found[name][layer] == pytest.approx(equation_2(*long), abs=1e-14)


def test_signed_cosine_tells_an_inverted_unit(fill):
    reference = fill(output=[[1.0, 3.0], [2.0, 4.0]])
    inverted = fill(output=[[1.0, -3.0], [2.0, -4.0]])
    plain = regularizers.cosine_similarity(inverted, reference)["output"][0]
    signed = regularizers.cosine_similarity(inverted, reference, signed=True)["output"][0]
    assert (plain, signed) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-7))


def test_cosine_ignores_the_length_of_a_unit(float64, pair):
    pruned, reference = pair(jnp.float64)
    stretched = {name: kernel * 7.0 for name, kernel in pruned.items()}
    assert regularizers.cosine(stretched, reference) == pytest.approx(
        float(regularizers.cosine(pruned, reference)), abs=1e-14
    )
    gradient = jax.grad(regularizers.cosine)(pruned, reference)
    for name in KERNELS:
        along = np.sum(np.asarray(gradient[name] * pruned[name]), axis=-2)
        np.testing.assert_allclose(along, 0, atol=1e-16)


def test_cosine_and_frobenius_agree_at_a_cut(float64, make_kernels):
    # ||W - MW||^2 = ||W||^2 (1 - c^2), with c the cosine over the whole layer.
    weights = make_kernels(0, dtype=jnp.float64)
    kept = {name: jnp.abs(weights[name]) > 0.7 for name in KERNELS}
    pruned = masks.apply(weights, kept)
    cosines = regularizers.cosine_similarity(pruned, weights, per_unit=False)
    expected = sum(
        float(jnp.sum(jnp.sum(weights[name] ** 2, (1, 2)) * (1 - cosines[name] ** 2)))
        for name in KERNELS
    )
    assert regularizers.frobenius(pruned, weights) == pytest.approx(expected, abs=1e-12)
    by_unit = regularizers.cosine_similarity(pruned, weights)
    for name in KERNELS:  # per column, rho = ||m * w|| / ||w||
        shares = np.linalg.norm(pruned[name], axis=1) / np.linalg.norm(weights[name], axis=1)
        np.testing.assert_allclose(by_unit[name], shares.mean(-1), atol=1e-14)


# --- zero columns ------------------------------------------------------------------------------


@pytest.mark.parametrize("per_unit", [True, False])
@pytest.mark.parametrize("side", ["pruned", "reference", "both"])
def test_zero_columns_give_zero_and_no_nan(pair, side, per_unit):
    pruned, reference = pair()
    if side != "reference":
        pruned["output"] = pruned["output"].at[0, :, 1].set(0).at[1].set(0)
    if side != "pruned":
        reference["output"] = reference["output"].at[0, :, 1].set(0).at[1].set(0)
    similarity = regularizers.cosine_similarity(pruned, reference, per_unit=per_unit)["output"]
    value, gradient = jax.jit(
        jax.value_and_grad(lambda tree: regularizers.cosine(tree, reference, per_unit=per_unit))
    )(pruned)
    assert similarity[1] == 0
    assert 0 < similarity[0] < 1
    assert np.isfinite(value)
    assert all(np.isfinite(gradient[name]).all() for name in KERNELS)
    np.testing.assert_array_equal(gradient["output"][1], 0)
    if per_unit:
        np.testing.assert_array_equal(gradient["output"][0, :, 1], 0)
        assert np.abs(gradient["output"][0, :, 0]).max() > 0


def test_a_zero_column_stays_in_the_mean(fill):
    reference = fill(output=[[1.0, 3.0], [2.0, 4.0]])
    pruned = fill(output=[[1.0, 0.0], [2.0, 0.0]])
    similarity = regularizers.cosine_similarity(pruned, reference)["output"][0]
    assert similarity == pytest.approx(0.5)
    # The other five matrices of the tree have two columns each, all zero.
    assert int(regularizers.zero_columns(pruned)) == 5 * 2 + 1


def test_tiny_columns_are_not_zero(fill):
    reference = fill(output=[[1e-15, 0.0], [1e-15, 0.0]])
    pruned = fill(output=[[1e-15, 0.0], [0.0, 0.0]])
    similarity = regularizers.cosine_similarity(pruned, reference)["output"][0]
    assert similarity == pytest.approx(0.5**0.5 / 2)


# --- Frobenius and L2 --------------------------------------------------------------------------


def test_frobenius_oracle(fill):
    teacher = fill(output=[[1.0], [2.0], [3.0]])
    kept = {name: jnp.asarray(kernel != 0) for name, kernel in teacher.items()}
    kept["output"] = jnp.asarray([[[True], [False], [True]]])
    weights = fill(output=[[2.0], [2.0], [1.0]])

    def distance(tree, **options):
        return regularizers.frobenius(masks.apply(tree, kept), teacher, **options)

    value, gradient = jax.value_and_grad(distance)(weights)
    assert value == 9
    assert gradient["output"].ravel().tolist() == [2, 0, -4]
    assert distance(weights, squared=False) == 3
    assert distance(weights, reduce="mean") == pytest.approx(9 / 6)
    assert distance(weights, squared=False, reduce="mean") == pytest.approx(3 / 6)


def test_frobenius_adds_up_matrices(float64, pair):
    pruned, reference = pair(jnp.float64)
    apart = [np.asarray(reference[name] - pruned[name]) for name in KERNELS]
    squares = np.concatenate([np.sum(each**2, axis=(1, 2)) for each in apart])
    assert squares.shape == (MATRICES,)
    for squared, values in ((True, squares), (False, np.sqrt(squares))):
        for reduce, expected in (("sum", values.sum()), ("mean", values.mean())):
            found = regularizers.frobenius(pruned, reference, squared=squared, reduce=reduce)
            assert found == pytest.approx(expected, abs=1e-12)


def test_the_norm_has_no_nan_where_nothing_has_moved(pair):
    _, reference = pair()
    value, gradient = jax.value_and_grad(regularizers.frobenius)(
        reference, {name: kernel + 0 for name, kernel in reference.items()}
    )
    norm_gradient = jax.grad(lambda tree: regularizers.frobenius(tree, reference, squared=False))(
        reference
    )
    assert value == 0
    for name in KERNELS:
        np.testing.assert_array_equal(gradient[name], 0)
        np.testing.assert_array_equal(norm_gradient[name], 0)


def test_l2_is_the_sum_of_squares(float64, pair):
    pruned, _ = pair(jnp.float64)
    expected = sum(float(np.sum(np.asarray(pruned[name]) ** 2)) for name in KERNELS)
    assert regularizers.l2(pruned) == pytest.approx(expected, abs=1e-12)
    gradient = jax.grad(regularizers.l2)(pruned)
    np.testing.assert_allclose(gradient["output"], 2 * np.asarray(pruned["output"]))


# --- precision and gradients -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cosine", "frobenius"])
def test_bfloat16_kernels_are_summed_in_float32(name):
    generator = np.random.default_rng(0)
    kernels = [
        {each: jnp.asarray(generator.normal(size=(1, 4096, 2)), jnp.bfloat16) for each in KERNELS}
        for _ in range(2)
    ]
    wide = [{each: kernel.astype(jnp.float32) for each, kernel in tree.items()} for tree in kernels]
    function = getattr(regularizers, name)
    value, gradient = jax.value_and_grad(function)(*kernels)
    assert value.dtype == jnp.float32
    assert value == pytest.approx(float(function(*wide)), rel=1e-6)
    assert gradient["output"].dtype == jnp.bfloat16


@pytest.mark.parametrize("name", ["cosine", "frobenius"])
def test_pruned_weights_get_no_gradient_through_the_mask(pair, name):
    # Without the mask the cosine would pull pruned weights back up.
    current, reference = pair()[1], pair(seed=5)[1]
    kept = {each: jnp.abs(current[each]) > 0.7 for each in KERNELS}
    function = getattr(regularizers, name)
    through = jax.grad(lambda tree: function(masks.apply(tree, kept), reference))(current)
    direct = jax.grad(function)(masks.apply(current, kept), reference)
    for each in KERNELS:
        pruned = ~np.asarray(kept[each])
        np.testing.assert_array_equal(np.asarray(through[each])[pruned], 0)
        assert np.abs(np.asarray(direct[each])[pruned]).max() > 0
