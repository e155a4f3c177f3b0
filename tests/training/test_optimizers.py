import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.training import optimizers

RATES = [1e-2, 2e-2, 5e-3, 1e-2, 0.0, 1e-2, 3e-2, 1e-3, 1e-2, 1e-2]
DECAY = 0.1
DECAYED = ("encoder/output/kernel", "embeddings/word/embedding")
KEPT = ("encoder/output/bias", "encoder/layer_norm/scale", "encoder/layer_norm/bias")


def leaves(seed):
    generator = np.random.default_rng(seed)
    return {
        path: generator.normal(size=(3, 4) if path in DECAYED else (4,)).astype(np.float32)
        for path in (*DECAYED, *KEPT)
    }


def gradients(step):
    """Of sizes from 1e-6 to 1, so that epsilon matters somewhere."""
    return {
        path: leaf * np.float32(10.0 ** -(index % 3 * 3))
        for index, (path, leaf) in enumerate(leaves(100 + step).items())
    }


@pytest.fixture(scope="module")
def ours():
    params = jax.tree.map(jnp.asarray, leaves(0))
    states = optimizers.init(params, {})
    for step, rate in enumerate(RATES):
        params, states = jax.jit(optimizers.update)(
            params,
            jax.tree.map(jnp.asarray, gradients(step)),
            states,
            rates={"weights": jnp.float32(rate)},
            weight_decay=jnp.float32(DECAY),
        )
    return jax.device_get(params)


def by_the_formulas():
    """AdamW of Loshchilov and Hutter (2019), Algorithm 2, in float64."""
    found = {}
    for path, start in leaves(0).items():
        theta, first, second = start.astype(np.float64), 0.0, 0.0
        for step, rate in enumerate(RATES):
            gradient = gradients(step)[path].astype(np.float64)
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            direction = first / (1 - 0.9 ** (step + 1))
            direction /= np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8
            if path in DECAYED:
                theta = theta - rate * DECAY * theta
            theta = theta - rate * direction
        found[path] = theta
    return found


def test_ten_steps_equal_the_formulas(ours):
    for path, expected in by_the_formulas().items():
        np.testing.assert_allclose(ours[path], expected, rtol=2e-6, atol=2e-6, err_msg=path)
        assert np.abs(expected - leaves(0)[path]).max() > 0.01


@pytest.mark.torch
def test_ten_steps_equal_torch(ours):
    import torch

    params = {path: torch.nn.Parameter(torch.tensor(leaf)) for path, leaf in leaves(0).items()}
    groups = [
        {"params": [params[path] for path in DECAYED], "weight_decay": DECAY},
        {"params": [params[path] for path in KEPT], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-8)
    for step, rate in enumerate(RATES):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for path, gradient in gradients(step).items():
            params[path].grad = torch.tensor(gradient)
        optimizer.step()
    for path, param in params.items():
        expected = param.detach().numpy()
        np.testing.assert_allclose(ours[path], expected, rtol=2e-6, atol=2e-6, err_msg=path)


@pytest.mark.parametrize("path", [*DECAYED, "head/out/kernel", "embeddings/position/embedding"])
def test_matrices_decay(path):
    assert optimizers.decays(path)


@pytest.mark.parametrize("path", [*KEPT, "head/dense/bias", "embeddings/layer_norm/scale"])
def test_biases_and_layer_norms_do_not_decay(path):
    assert not optimizers.decays(path)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, [1, 1, 1, 1, 1, 1, 1, 1]),
        ("constant", 4, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ("linear", 0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("linear", 4, [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]),
    ],
)
def test_rate_factor(schedule, warmup, expected):
    rates = [
        optimizers.rate_factor(
            jnp.int32(step),
            warmup=jnp.float32(warmup),
            total=jnp.float32(8),
            schedule=schedule,
        )
        for step in range(8)
    ]
    np.testing.assert_allclose(rates, np.asarray(expected), rtol=1e-6)


def test_rate_is_never_negative_past_the_end():
    found = optimizers.rate_factor(
        jnp.int32(9),
        warmup=jnp.float32(0),
        total=jnp.float32(8),
        schedule="linear",
    )
    assert found == 0


def test_a_leaf_with_a_rate_of_its_own_does_not_decay_and_may_climb():
    params = {"encoder/output/kernel": 1.0, "method/gates/output": 2.0, "method/multipliers/x": 3.0}
    params = {path: jnp.full(2, value) for path, value in params.items()}
    gradients = {path: jnp.array([0.5, -0.5]) for path in params}
    kernel, gate, multiplier = ({path: params[path]} for path in params)
    states = optimizers.init(kernel, {"scores": gate, "ascent": multiplier})
    rates = dict(weights=jnp.float32(1e-3), scores=jnp.float32(0.1), ascent=jnp.float32(-0.01))
    options = {"rates": rates, "weight_decay": jnp.float32(0.5)}
    found, _ = optimizers.update(params, gradients, states, **options)
    step = np.array([1.0, -1.0])  # Adam's first direction is the sign
    np.testing.assert_allclose(found["encoder/output/kernel"], 1 - 1e-3 * (step + 0.5), rtol=1e-6)
    np.testing.assert_allclose(found["method/gates/output"], 2 - 0.1 * step, rtol=1e-6)
    np.testing.assert_allclose(found["method/multipliers/x"], 3 + 0.01 * step, rtol=1e-6)

    still, after = optimizers.update(params, gradients, states, learn=jnp.bool_(False), **options)
    np.testing.assert_array_equal(still["encoder/output/kernel"], found["encoder/output/kernel"])
    for path in ("method/gates/output", "method/multipliers/x"):
        np.testing.assert_array_equal(still[path], params[path])
    assert after["weights"].count == 1
    for label in ("scores", "ascent"):
        jax.tree.map(np.testing.assert_array_equal, after[label], states[label])


def clipped(tree, largest):
    norm = jnp.float32(np.sqrt(sum(np.sum(leaf.astype(np.float64) ** 2) for leaf in tree.values())))
    return optimizers.clip_by_global_norm(tree, norm, largest)


@pytest.mark.parametrize("largest", [0.5, 3.0, 100.0])
def test_clipping_is_over_all_leaves_together(largest):
    tree = leaves(5)
    norm = np.sqrt(sum(np.sum(leaf.astype(np.float64) ** 2) for leaf in tree.values()))
    assert 3.0 < norm < 100.0
    found = clipped(tree, largest)
    for path, leaf in tree.items():
        expected = leaf * min(1.0, largest / (norm + 1e-6))
        np.testing.assert_allclose(found[path], expected, rtol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clipping_equals_torch(largest):
    import torch

    tree = leaves(5)
    params = {path: torch.nn.Parameter(torch.zeros(leaf.shape)) for path, leaf in tree.items()}
    for path, param in params.items():
        param.grad = torch.tensor(tree[path])
    torch.nn.utils.clip_grad_norm_(params.values(), largest)
    for path, found in clipped(tree, largest).items():
        np.testing.assert_allclose(found, params[path].grad.numpy(), rtol=1e-6)
