"""The largest weights of each query, and whose they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from tests import oracles
from tests.attention_cases import IMPLEMENTATIONS, arrays, as_float64, run
from tests.tolerances import BACKWARD, assert_close

T, S = 12, 160
ALL = ("reference", *IMPLEMENTATIONS)


def largest(weights, mask, k):
    """By sorting one row at a time: equal weights in the order of their keys."""
    found, indices = np.zeros((len(weights), k)), np.full((len(weights), k), -1)
    for t, (row, allowed) in enumerate(zip(weights, mask, strict=True)):
        keys = sorted(np.flatnonzero(allowed), key=lambda i: (-row[i], i))[:k]
        found[t, : len(keys)], indices[t, : len(keys)] = row[keys], keys
    return found, indices


@pytest.mark.parametrize("implementation", ALL)
@pytest.mark.parametrize("kind", ["dense", "window"])
def test_agrees_with_sorting(kind, implementation):
    """Empty rows, rows with fewer than k keys, weights that are equal, keys skipped."""
    case = arrays("scaled_dot", T=T, S=S)
    position = np.arange(T) * 13
    case.mask[3, 5:] = False
    mask, where = case.mask, case.mask
    if kind == "window":
        distance = position[:, None] - np.arange(S)
        where = (distance >= 0) & (distance <= 9)
        mask = masks.window(9, 0)
    output = run(
        case,
        "scaled_dot",
        "softmax",
        mask=mask,
        query_positions=position,
        implementation=implementation,
        chunk_size=5,
        statistics=("argmax", aj.top_k(6)),
    )
    exact = as_float64(case)
    _, weights, _ = oracles.attention(
        *exact[:3], where, score="scaled_dot", normalizer="softmax", params={}
    )
    found, indices = largest(weights, where, 6)
    assert set(output.statistics) == {"argmax", "top_k_weights", "top_k_indices"}
    assert_close(output.statistics["top_k_weights"], found)
    np.testing.assert_array_equal(output.statistics["top_k_indices"], indices)
    np.testing.assert_array_equal(output.statistics["argmax"], indices[:, 0])


@pytest.mark.parametrize("implementation", ALL)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
def test_fewer_keys_than_asked_for(shape, implementation):
    case = arrays("dot", T=shape[0], S=shape[1])
    given = {"mask": None, "implementation": implementation}
    found = run(case, "dot", "softmax", statistics=(aj.top_k(5),), **given).statistics
    weights, indices = found["top_k_weights"], found["top_k_indices"]
    assert weights.shape == indices.shape == (shape[0], 5)
    assert not np.any(weights[:, shape[1] :])
    assert np.all(indices[:, shape[1] :] == -1)


def test_the_weights_have_derivatives():
    case = arrays("scaled_dot", T=T, S=S)

    def total(query, keys, implementation):
        inner = case._replace(query=query, keys=keys)
        given = {"implementation": implementation, "chunk_size": 5}
        output = run(inner, "scaled_dot", "softmax", statistics=(aj.top_k(4),), **given)
        return jnp.sum(jnp.sin(9 * output.statistics["top_k_weights"]))

    gradient = jax.grad(total, argnums=(0, 1))
    expected, actual = (
        gradient(case.query, case.keys, name) for name in ("reference", "chunked")
    )
    assert np.any(expected[0]) and np.all(np.isfinite(expected[0]))
    jax.tree.map(lambda a, e: assert_close(a, e, table=BACKWARD), actual, expected)


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (2.0, TypeError)])
def test_k_is_a_positive_integer(k, error):
    with pytest.raises(error, match="top_k: k must be"):
        aj.top_k(k)
