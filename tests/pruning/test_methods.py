"""Presets of methods: what they prune by, their penalties, and names that there are not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from method_cases import CLOCK, HYPER, KEY, TOP_K, of_preset, penalty_of

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import (
    criteria,
    gates,
    kernels,
    lamp,
    lookahead,
    masks,
    methods,
    regularizers,
)
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import Hyper, Weights

TABLE_1 = (
    "none random random-global l0-mbp l2-mbp l2-global-mbp gradient-mbp lookahead lamp cosine-mbp"
    " frobenius-mbp"
).split()
STRUCTURED = [f"structured-{name}" for name in ("taylor", "fisher", "magnitude", "random")]
PEERS = ["wanda", "sparsegpt"]
LEARNED = ["movement", "movement-penalty", "movement-global", "soft-movement", "smp-l", "smp-s"]
CONTROLS = "l0 l2sp frobenius-dense-only frobenius-finetuned".split()


def test_presets_have_the_names_of_table_1():
    others = PEERS + LEARNED + STRUCTURED + ["elastic"] + CONTROLS
    assert list(methods.PRESETS) == TABLE_1 + others
    assert {name for name, row in methods.PRESETS.items() if "pruning.steps" in row} == {"none"}
    assert methods.PRESETS["none"]["pruning.steps"] == 0


def test_only_alignreg_and_l0_rows_have_a_penalty_and_its_reference_is_pretrained():
    rows = methods.PRESETS
    weights = {name: methods.REGULARIZERS[rows[name]["regularizer.name"]] for name in TABLE_1}
    assert {name: weight for name, weight in weights.items() if weight} == {
        "cosine-mbp": 100.0,
        "frobenius-mbp": 5e-4,
        "l0-mbp": 1.0,
    }
    for name in ("cosine-mbp", "frobenius-mbp"):
        assert rows[name]["regularizer.reference"] == "pretrained"


EXPECTED_SCORES = {
    "random": lambda kernels, measured: criteria.random(kernels, KEY),
    "random-global": lambda kernels, measured: criteria.random(kernels, jax.random.fold_in(KEY, 1)),
    "gradient-mbp": lambda kernels, measured: criteria.gradient(measured),
    "lookahead": lambda kernels, measured: lookahead.lookahead(kernels),
    "lamp": lambda kernels, measured: lamp.lamp(kernels),
}


@pytest.mark.parametrize("name", [*TABLE_1, *CONTROLS])
def test_a_preset_prunes_by_its_criterion_and_scope(make_kernels, name):
    weights, measured, fields = make_kernels(0), make_kernels(1), methods.PRESETS[name]
    keep = masks.keep_counts(kernels.sizes(weights), 0.4, fields["pruning.scope"])
    method, state = of_preset(name), {}
    if name.startswith("l0"):  # gates of another order than the weights
        state = {"gates": jax.tree.map(jnp.tanh, make_kernels(2))}  # none of them shut
        folded = gates.fold(weights, state["gates"])
        scores = state["gates"] if name == "l0" else criteria.magnitude(folded)
    else:
        score = EXPECTED_SCORES.get(name, lambda kernels, _: criteria.magnitude(kernels))
        scores = score(weights, measured)
    found, _ = jax.jit(method.cut)(
        weights, masks.ones(weights), state, {"grad": measured}, keep, KEY
    )
    scope = "global" if name in ("random-global", "l2-global-mbp", "lamp", "l0") else "layer"
    expected = TOP_K(scores, masks.ones(weights), keep, scope=scope)
    for each in KERNELS:
        np.testing.assert_array_equal(found[each], expected[each])


@pytest.mark.parametrize(
    ("criterion", "signal", "expected"),
    [
        ("gradient", "grad", lambda kernels, sums: criteria.gradient(sums)),
        ("gradient-sum-abs", "grad_abs", lambda kernels, sums: sums),
        ("gradient-squares", "grad_squared", lambda kernels, sums: sums),
        ("taylor", "grad", criteria.saliency),
    ],
)
def test_variants_of_gradient_pruning_say_what_they_need(make_kernels, criterion, signal, expected):
    weights, sums = make_kernels(0), make_kernels(1)
    method = methods.build(criterion=criterion, scope="layer")
    assert method.needs == {signal}
    keep = masks.keep_counts(kernels.sizes(weights), 0.4, "layer")
    found, _ = method.cut(weights, masks.ones(weights), {}, {signal: sums}, keep, KEY)
    scores = TOP_K(expected(weights, sums), masks.ones(weights), keep, scope="layer")
    jax.tree.map(np.testing.assert_array_equal, found, scores)


@pytest.mark.parametrize("boundary", ["residual", "chain"])
def test_boundaries_of_lookahead(make_kernels, boundary):
    weights = make_kernels(0)
    scales = {
        "embeddings": jnp.ones(4),
        "attention": jnp.ones((2, 4)) * 2,
        "output": jnp.ones((2, 4)),
    }
    method = methods.build(criterion=f"lookahead-{boundary}", scope="layer")
    assert method.needs == ({"layernorm"} if boundary == "residual" else set())
    keep = masks.keep_counts(kernels.sizes(weights), 0.4, "layer")
    found, _ = method.cut(weights, masks.ones(weights), {}, {"layernorm": scales}, keep, KEY)
    scores = lookahead.lookahead(weights, boundary=boundary, layernorm=scales)
    expected = TOP_K(scores, masks.ones(weights), keep, scope="layer")
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_methods_that_share_a_penalty_share_its_function():
    """What a train step is compiled from: criteria and scopes do not matter to it."""
    alike = ["l2-mbp", "l2-global-mbp", "random", "gradient-mbp", "lamp", "none"]
    assert len({of_preset(name).training for name in alike}) == 1
    assert of_preset("frobenius-mbp").training == of_preset("frobenius-dense-only").training
    assert of_preset("frobenius-mbp").training != of_preset("l2-mbp").training
    assert of_preset("frobenius-mbp").cutting == of_preset("l2-mbp").cutting
    assert of_preset("l2-global-mbp").cutting != of_preset("l2-mbp").cutting
    assert of_preset("l0").training == of_preset("l0-mbp").training != of_preset("l2-mbp").training


def test_l2sp_is_frobenius_to_the_bit_on_the_kernels(make_kernels):
    """And so all that AlignReg's regularizer adds to L2-SP is what it leaves free."""
    pruned, reference = make_kernels(0), make_kernels(1)
    hyper = Hyper(regularizer_weight=jnp.float32(5e-4))

    def value(name):
        method = of_preset(name)
        return jax.jit(
            jax.value_and_grad(lambda kernels: penalty_of(method, kernels, reference, hyper)[0])
        )(pruned)

    assert jax.tree.map(np.array_equal, value("l2sp"), value("frobenius-mbp")) == (
        True,
        dict.fromkeys(KERNELS, True),
    )


def test_l2sp_pulls_everything_else_that_is_pretrained(make_kernels):
    kernels, bias = make_kernels(0), {"encoder/output/bias": jnp.array([1.0, -2.0])}
    start = {"encoder/output/bias": jnp.array([0.5, 1.0])}
    method = of_preset("l2sp")
    assert method.anchors_rest
    assert not of_preset("frobenius-mbp").anchors_rest
    found, _ = method.penalty(
        Weights(kernels, bias), masks.ones(kernels), Weights(kernels, start), {}, HYPER, CLOCK
    )
    assert found == 0.5**2 + 3.0**2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"regularizer": "cosine"}, regularizers.cosine),
        (
            {"regularizer": "cosine", "signed": True},
            lambda *pair: regularizers.cosine(*pair, signed=True),
        ),
        (
            {"regularizer": "cosine-layer"},
            lambda *pair: regularizers.cosine(*pair, per_unit=False),
        ),
        ({"regularizer": "frobenius"}, regularizers.frobenius),
        (
            {"regularizer": "frobenius", "norm": "norm", "reduce": "mean"},
            lambda *pair: regularizers.frobenius(*pair, squared=False, reduce="mean"),
        ),
        ({"regularizer": "l2"}, lambda pruned, reference: regularizers.l2(pruned)),
    ],
)
def test_penalty_is_the_weighted_regularizer(make_kernels, fields, expected):
    pruned, reference = make_kernels(0), make_kernels(1)
    method = methods.build(criterion="magnitude", scope="layer", **fields)
    hyper = Hyper(regularizer_weight=jnp.float32(3))
    penalty, logs = penalty_of(method, pruned, reference, hyper)
    value = expected(pruned, reference)
    assert logs["regularizer"] == value
    assert penalty == pytest.approx(3 * float(value))


def test_no_regularizer_costs_and_logs_nothing(make_kernels):
    penalty, logs = penalty_of(of_preset("l2-mbp"), make_kernels(0), make_kernels(1), Hyper())
    assert penalty == 0
    assert logs == {}


@pytest.mark.parametrize("name", ["cosine", "frobenius"])
def test_the_reference_is_data(make_kernels, name):
    method = methods.build(criterion="magnitude", scope="layer", regularizer=name)
    hyper = Hyper(regularizer_weight=1.0)

    def penalty(pruned, reference):
        return penalty_of(method, pruned, reference, hyper)[0]

    ours, other = jax.grad(penalty, argnums=(0, 1))(make_kernels(0), make_kernels(1))
    for each in KERNELS:
        assert np.abs(ours[each]).max() > 0
        np.testing.assert_array_equal(other[each], 0)


def test_the_weight_is_traced(make_kernels):
    traces = []

    @jax.jit
    def penalty(pruned, reference, hyper):
        traces.append(1)
        return penalty_of(of_preset("frobenius-mbp"), pruned, reference, hyper)[0]

    values = [
        float(penalty(make_kernels(0), make_kernels(1), Hyper(regularizer_weight=jnp.float32(w))))
        for w in (1, 2, 4)
    ]
    assert values == pytest.approx([values[0], 2 * values[0], 4 * values[0]])
    assert traces == [1]


def test_defaults_of_a_method(make_kernels):
    weights = make_kernels(0)
    method = of_preset("l2-mbp")
    assert (method.zero_pruned, method.needs) == (True, frozenset())
    assert method.init(weights, KEY) == {}
    kept = {name: jnp.abs(weights[name]) > 1 for name in KERNELS}
    expected = masks.apply(weights, kept)
    # The network sees the store, where zero_pruned keeps pruned weights at zero
    seen = method.effective(expected, kept, {}, HYPER, CLOCK, KEY, True)
    exported = method.finalize(weights, kept, {})
    for name in KERNELS:
        assert seen[name] is expected[name]
        np.testing.assert_array_equal(exported[name], expected[name])
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.name = "other"


@pytest.mark.parametrize("name", ["l2-mbp", "cosine-mbp", "frobenius-mbp"])
def test_pruned_weights_stay_zero_under_adamw_when_masks_are_applied(make_kernels, name):
    # Without the last line of `step`, decay and momentum would move them; the test would see it.
    method, reference = of_preset(name), make_kernels(0)
    optimizer = optax.adamw(1e-2, weight_decay=0.1)
    weights, hyper = reference, Hyper(regularizer_weight=1.0)
    moments = optimizer.init(weights)
    kept = masks.ones(weights)

    def loss(tree):
        effective = method.effective(tree, kept, {}, hyper, CLOCK, KEY, True)
        task = sum(jnp.sum((effective[each] - 0.3) ** 2) for each in KERNELS)
        return task + penalty_of(method, effective, reference, hyper)[0]

    def step(weights, moments):
        updates, moments = optimizer.update(jax.grad(loss)(weights), moments, weights)
        return optax.apply_updates(weights, updates), moments

    weights, moments = step(weights, moments)
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, "layer")
    kept, _ = jax.jit(method.cut)(weights, kept, {}, {}, keep, KEY)
    weights = masks.apply(weights, kept)
    for _ in range(5):
        moved, moments = step(weights, moments)
        assert any(np.any(np.asarray(moved[each])[~np.asarray(kept[each])]) for each in KERNELS)
        weights = masks.apply(moved, kept)
    for each in KERNELS:
        pruned = ~np.asarray(kept[each])
        np.testing.assert_array_equal(np.asarray(weights[each])[pruned], 0)
        assert np.all(np.asarray(weights[each])[~pruned] != 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"criterion": "fisher"}, "pruning.criterion=fisher: choose one of magnitude, random"),
        ({"scope": "block"}, "pruning.scope=block: choose one of layer, global"),
        ({"regularizer": "cos"}, "regularizer.name=cos: choose one of none, cosine"),
        ({"norm": "l1"}, "regularizer.norm=l1: choose one of squared, norm"),
        ({"reduce": "max"}, "regularizer.reduce=max: choose one of sum, mean"),
    ],
)
def test_an_unknown_name_is_the_users_error(fields, message):
    with pytest.raises(UserError) as error:
        methods.build(**{"criterion": "magnitude", "scope": "layer", **fields})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_every_regularizer_in_the_table_builds():
    for name in methods.REGULARIZERS:
        criterion = "movement" if name == "scores" else "random"
        assert methods.build(criterion=criterion, scope="global", regularizer=name).name
