"""Ties and NaN: everything that picks the largest agrees with `argmax` about the first."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.decoding.top_k import top_k_tokens
from attention_jax.functions.ordering import top_k
from attention_jax.statistics import statistics_of_rows

# Of either sign, as 0/0 has it.
NANS = (np.float32(np.nan), np.copysign(np.float32(np.nan), np.float32(-1)))
TIES = [
    [-0.0, 0.0, -1.0, -0.0],
    [-1.0, 0.0, -0.0, 0.0],
    [0.0, 1e-40, -1e-40, 2e-40],
    [np.inf, NANS[0], np.inf, 1.0],
    [1.0, 2.0, NANS[1], NANS[0]],
    [-np.inf, -np.inf, -0.0, 0.0],
]


def rank(row):
    """By sorting: NaN first, then falling; what is flushed to zero is zero."""
    keys = [
        (0.0, 0) if np.isnan(x) else (1.0, -(x if abs(x) > 1e-38 else 0)) for x in row
    ]
    return sorted(range(len(row)), key=lambda i: (*keys[i], i))


@pytest.mark.parametrize("row", TIES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_equal_numbers_go_to_the_lower_index(row, k):
    array = jnp.array(row, jnp.float32)
    expected = rank(row)[:k]
    assert int(jnp.argmax(array)) == expected[0]
    for compiled in (top_k, jax.jit(top_k, static_argnums=1), top_k_tokens):
        values, indices = compiled(array, k)
        assert indices.tolist() == expected
        np.testing.assert_array_equal(values, array[indices])
    found = statistics_of_rows(("argmax", aj.top_k(k)), array, array, None)
    attended = [-1 if np.isneginf(row[i]) else i for i in expected]
    assert found["top_k_indices"].tolist() == attended
    assert found["argmax"] == attended[0]


@pytest.mark.parametrize("row", TIES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_softmax_keeps_exactly_k(row, k):
    normalize = aj.get_normalizer(functools.partial(aj.top_k_softmax, k=k))
    weights = np.asarray(normalize(jnp.array(row, jnp.float32)))
    kept = rank(row)[:k]
    if np.isnan(row).any():
        assert np.isnan(weights).all(), "as softmax: no NaN is dropped"
        return
    expected = np.zeros(len(row))
    expected[kept] = np.exp([row[i] for i in kept])
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6)


def test_a_zero_query_has_ties_alone():
    keys = np.array([[-1.0], [1.0], [-2.0]], np.float32)
    once = functools.partial(aj.top_k_softmax, k=1)
    found = aj.attend(np.zeros(1, np.float32), keys, keys, normalizer=once)
    np.testing.assert_array_equal(found.weights, [1, 0, 0])


def test_many_tokens_of_which_some_are_nan():
    """More than one block, so that the largest are looked for among blocks' maxima."""
    values = np.zeros((2, 1_000), np.float32)
    values[0, [700, 900]] = NANS
    values[1, ::2] = -0.0
    for k in (1, 3):
        places = np.asarray(top_k_tokens(jnp.array(values), k)[1])
        assert places.tolist() == [[700, 900, 0][:k], [0, 1, 2][:k]]
