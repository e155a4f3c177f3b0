"""What kernels have in common that take the place of a plain form: a model trains alike."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from alignreg_jax.models import xlmr


def check_trains_alike(config, near, value_near, **forms):
    """Loss and gradients of two forms of a model, with the same dropout.

    Args:
        config: of the encoder.
        near: keywords of assert_allclose for gradients.
        value_near: the relative tolerance of the loss.
        forms: keywords of XlmrModel; where one has two values, each form takes one.
    """
    ids, found = jax.random.randint(jax.random.key(1), (3, 20), 3, 50), []
    for form in (0, 1):
        given = {name: of[form] if isinstance(of, tuple) else of for name, of in forms.items()}
        model = xlmr.XlmrModel(config, "dense-tanh-out", 3, **given)
        params = xlmr.init_params(model, jax.random.key(0))

        def loss(params, model=model):
            logits = xlmr.logits(
                model, params, ids, jnp.array([20, 7, 1]), dropout_key=jax.random.key(2)
            )
            return jnp.sum(jnp.sin(logits))

        found.append(jax.value_and_grad(loss)(params))
    (value, gradients), (same, alike) = found
    np.testing.assert_allclose(value, same, rtol=value_near)
    jax.tree.map(partial(np.testing.assert_allclose, **near), gradients, alike)
