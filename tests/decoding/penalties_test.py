import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.decoding.penalties import (
    LEAST_COVERAGE,
    coverage_penalties,
    length_penalties,
)

COVERAGE = jnp.array([0.5, 1.0, 2.5, 0.0, 9.0])
VALID = jnp.array([True, True, True, True, False])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("none", 1.0), ("gnmt", ((5 + 7) / 6) ** 0.6), ("plain", 7**0.6)],
)
def test_length_penalties(name, expected):
    found = length_penalties.get(name)(jnp.array(7.0), jnp.array(0.6))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("none", 0.0), ("gnmt", np.log(0.5) + np.log(LEAST_COVERAGE)), ("summary", -1.5)],
)
def test_coverage_penalties(name, expected):
    np.testing.assert_allclose(
        coverage_penalties.get(name)(COVERAGE, VALID), expected, rtol=1e-6
    )


@pytest.mark.parametrize("name", length_penalties.names())
@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 4, width=32))
def test_length_penalties_are_positive_and_grow(name, one, other, alpha):
    """What stopping early relies on."""
    lengths = jnp.sort(jnp.array([one, other], jnp.float32))
    shorter, longer = length_penalties.get(name)(lengths, jnp.float32(alpha))
    assert 0 < shorter <= longer


@pytest.mark.parametrize("name", coverage_penalties.names())
@settings(deadline=None)
@given(st.lists(st.floats(0, 20, width=32), min_size=1, max_size=8))
def test_coverage_penalties_are_at_most_0(name, coverage):
    valid = jnp.ones(len(coverage), bool)
    found = coverage_penalties.get(name)(jnp.array(coverage, jnp.float32), valid)
    assert -np.inf < found <= 0
