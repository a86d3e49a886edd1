"""Dropout and the affine map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.nn.layers import dropout, linear


def test_dropout_zeroes_its_share_and_scales_the_rest():
    x = jnp.full((200, 200), 3.0)
    dropped = np.asarray(dropout(x, 0.25, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(dropped), [0.0, 4.0], rtol=1e-6)
    # 40,000 draws: the standard error of the share is 0.002.
    assert abs((dropped == 0).mean() - 0.25) < 0.01


def test_dropout_without_key_or_rate_is_the_identity():
    x = jnp.arange(6.0)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x


@pytest.mark.parametrize("leading", [(), (4,), (2, 4), (2, 0, 3)])
def test_linear_maps_the_last_axis(leading):
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(*leading, 3)), random.normal(size=(3, 5))
    bias = random.normal(size=5)
    arrays = [jnp.array(a, jnp.float32) for a in (x, kernel, bias)]
    np.testing.assert_allclose(linear(*arrays), x @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(linear(*arrays[:2]), x @ kernel, atol=1e-5)
