"""The likeliest tokens, against the plain selection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.decoding.top_k import first_maximum, log_sum_exp, top_k_tokens
from attention_jax.functions.ordering import top_k


@pytest.mark.parametrize(
    ("size", "k"), [(1, 1), (5, 2), (64, 1), (65, 2), (700, 1), (700, 5), (4_223, 5)]
)
@pytest.mark.parametrize("levels", [3, 10_000])
def test_equals_top_k(size, k, levels):
    """Three levels make nearly every value a tie."""
    rng = np.random.default_rng(size)
    values = jnp.array(rng.integers(0, levels, (3, 2, size)), jnp.float32)
    values = jnp.where(jnp.array(rng.random(values.shape) < 0.2), -jnp.inf, values)
    top, places = top_k_tokens(values, k)
    expected, where = top_k(values, k)
    np.testing.assert_array_equal(top, expected)
    np.testing.assert_array_equal(places, where)


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 2.5, 2.5]), min_size=1, max_size=9))
def test_the_first_of_the_largest(values):
    maximum, place = first_maximum(jnp.array(values))
    assert maximum == max(values) and place == values.index(max(values))


def test_log_sum_exp_of_large_numbers():
    values = jnp.array([[1e4, 1e4 - 1.0], [-1e4, -1e4]])
    expected = jax.nn.logsumexp(values, axis=-1)
    np.testing.assert_allclose(log_sum_exp(values), expected, rtol=1e-6)
