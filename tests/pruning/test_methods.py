import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import criteria, kernels, masks, methods, regularizers
from alignreg_jax.pruning.kernels import KERNELS

TABLE_1 = "none random random-global l2-mbp l2-global-mbp cosine-mbp frobenius-mbp".split()
KEY = jax.random.key(0)
TOP_K = jax.jit(masks.top_k, static_argnames="scope")
CLOCK = {"step": 0, "total_steps": 1, "phase": 0, "remaining": 1.0}


def of_preset(name):
    fields = methods.PRESETS[name]
    return methods.build(
        criterion=fields["pruning.criterion"],
        scope=fields["pruning.scope"],
        regularizer=fields["regularizer.name"],
    )


def test_presets_have_the_names_of_table_1():
    assert list(methods.PRESETS) == TABLE_1
    assert {name for name, row in methods.PRESETS.items() if "pruning.steps" in row} == {"none"}
    assert methods.PRESETS["none"]["pruning.steps"] == 0


def test_only_alignreg_rows_have_a_penalty_and_its_reference_is_pretrained():
    rows = methods.PRESETS
    weights = {name: methods.REGULARIZERS[rows[name]["regularizer.name"]] for name in TABLE_1}
    assert {name: weight for name, weight in weights.items() if weight} == {
        "cosine-mbp": 100.0,
        "frobenius-mbp": 5e-4,
    }
    for name in ("cosine-mbp", "frobenius-mbp"):
        assert rows[name]["regularizer.reference"] == "pretrained"


@pytest.mark.parametrize("name", TABLE_1)
def test_a_preset_prunes_by_its_criterion_and_scope(make_kernels, name):
    weights, fields = make_kernels(0), methods.PRESETS[name]
    keep = masks.keep_counts(kernels.sizes(weights), 0.4, fields["pruning.scope"])
    prune = jax.jit(of_preset(name).prune)
    found = prune(weights, masks.ones(weights), {}, {}, keep, KEY)
    random = name.startswith("random")
    scores = criteria.random(weights, KEY) if random else criteria.magnitude(weights)
    scope = "global" if "global" in name else "layer"
    expected = TOP_K(scores, masks.ones(weights), keep, scope=scope)
    for each in KERNELS:
        np.testing.assert_array_equal(found[each], expected[each])


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
    hyper = {"regularizer_weight": jnp.float32(3)}
    penalty, logs = method.penalty(pruned, reference, {}, hyper, CLOCK)
    value = expected(pruned, reference)
    assert logs["regularizer"] == value
    assert penalty == pytest.approx(3 * float(value))


def test_no_regularizer_costs_and_logs_nothing(make_kernels):
    penalty, logs = of_preset("l2-mbp").penalty(make_kernels(0), make_kernels(1), {}, {}, CLOCK)
    assert penalty == 0
    assert logs == {}


@pytest.mark.parametrize("name", ["cosine", "frobenius"])
def test_the_reference_is_data(make_kernels, name):
    method = methods.build(criterion="magnitude", scope="layer", regularizer=name)
    hyper = {"regularizer_weight": 1.0}

    def penalty(pruned, reference):
        return method.penalty(pruned, reference, {}, hyper, CLOCK)[0]

    ours, other = jax.grad(penalty, argnums=(0, 1))(make_kernels(0), make_kernels(1))
    for each in KERNELS:
        assert np.abs(ours[each]).max() > 0
        np.testing.assert_array_equal(other[each], 0)


def test_the_weight_is_traced(make_kernels):
    traces = []

    @jax.jit
    def penalty(pruned, reference, hyper):
        traces.append(1)
        return of_preset("frobenius-mbp").penalty(pruned, reference, {}, hyper, CLOCK)[0]

    values = [
        float(penalty(make_kernels(0), make_kernels(1), {"regularizer_weight": jnp.float32(w)}))
        for w in (1, 2, 4)
    ]
    assert values == pytest.approx([values[0], 2 * values[0], 4 * values[0]])
    assert traces == [1]


def test_defaults_of_a_method(make_kernels):
    weights = make_kernels(0)
    method = of_preset("l2-mbp")
    assert (method.nested, method.zero_pruned, method.needs) == (True, True, frozenset())
    assert method.init(weights, weights, KEY) == {}
    kept = {name: jnp.abs(weights[name]) > 1 for name in KERNELS}
    expected = masks.apply(weights, kept)
    # The network sees the store, where zero_pruned keeps pruned weights at zero
    seen = method.effective(expected, kept, {}, {}, CLOCK, KEY, True)
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
    weights, hyper = reference, {"regularizer_weight": 1.0}
    moments = optimizer.init(weights)
    kept = masks.ones(weights)

    def loss(tree):
        effective = method.effective(tree, kept, {}, hyper, CLOCK, KEY, True)
        task = sum(jnp.sum((effective[each] - 0.3) ** 2) for each in KERNELS)
        return task + method.penalty(effective, reference, {}, hyper, CLOCK)[0]

    def step(weights, moments):
        updates, moments = optimizer.update(jax.grad(loss)(weights), moments, weights)
        return optax.apply_updates(weights, updates), moments

    weights, moments = step(weights, moments)
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, "layer")
    kept = jax.jit(method.prune)(weights, kept, {}, {}, keep, KEY)
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
        assert methods.build(criterion="random", scope="global", regularizer=name).name
