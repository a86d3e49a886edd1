import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.evaluation.attention_statistics import (
    AttentionStatistics,
    attention_statistics,
    kendall_tau,
    mean_statistics,
)


def test_one_look_at_each_word_in_order():
    found = attention_statistics(np.eye(4))
    assert found == AttentionStatistics(0, 0, 1, 0, 1, 0.25)
    assert attention_statistics(np.eye(5)[::-1]).monotonicity == pytest.approx(-1)
    found = attention_statistics(np.array([[0, 0, 1.0]] * 4))
    assert found.covered == pytest.approx(1 / 3)
    assert found.repeated == 3 / 4 and found.last_word == 1
    for shape in ((0, 0), (0, 3), (2, 0)):
        found = attention_statistics(np.zeros(shape))
        assert found == AttentionStatistics(*[None] * 6)


def test_looking_at_everything_alike():
    found = attention_statistics(np.full((3, 4), 0.25))
    assert found.entropy == pytest.approx(np.log(4))
    assert found.relative_entropy == pytest.approx(1)
    assert found.covered == 1 and found.repeated == 0
    assert found.monotonicity is None and found.last_word == 0.25


def test_one_word_and_rows_of_zeros():
    assert attention_statistics(np.ones((1, 1))).relative_entropy is None
    found = attention_statistics(np.zeros((2, 3)))
    assert found == AttentionStatistics(None, None, 0.0, None, None, None)
    # A word that attends to nothing is left out; it has no argmax.
    weights = np.eye(4)[[0, 3, 3]] * [[1.0], [0.0], [1.0]]
    found = attention_statistics(weights)
    assert (found.entropy, found.monotonicity, found.covered) == (0, 1, 0.5)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_rows_need_not_sum_to_1(scale):
    found = attention_statistics(np.full((4, 5), scale))
    assert found.relative_entropy == pytest.approx(1)
    assert found.entropy == pytest.approx(np.log(5))
    assert found.last_word == pytest.approx(1 / 5)
    beyond = max(4 * scale - 1, 0) / (4 * scale)
    assert found.repeated == pytest.approx(beyond)


def test_means_are_over_the_sentences_that_have_one():
    some = [attention_statistics(np.eye(n)) for n in (1, 2)]
    found = mean_statistics([*some, attention_statistics(np.zeros((0, 2)))])
    assert found.last_word == 0.75 and found.monotonicity == pytest.approx(1)
    assert found.relative_entropy == 0
    assert mean_statistics([]) == AttentionStatistics(*[None] * 6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_kendall_tau_b(positions):
    """Against the sum over pairs."""
    pairs = list(itertools.combinations(range(len(positions)), 2))
    signs = [int(np.sign(positions[j] - positions[i])) for i, j in pairs]
    different = sum(map(abs, signs))
    found = kendall_tau(positions)
    if not different:
        assert found is None
    else:
        assert found == pytest.approx(sum(signs) / (len(pairs) * different) ** 0.5)
        assert -1 <= found <= 1 + 1e-9


def test_weights_below_0_have_no_statistics():
    found = attention_statistics(np.array([[0.5, -0.1], [1.0, 0.0]]))
    assert found == AttentionStatistics(*[None] * 6)


@pytest.mark.parametrize("weights", [np.zeros(3), [[np.nan, 1.0]], [[np.inf, 1.0]]])
def test_what_are_no_weights(weights):
    with pytest.raises(ValueError, match=r"weights must be \[T, S\]"):
        attention_statistics(np.array(weights))
