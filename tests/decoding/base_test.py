import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.data.codec import EOS, UNK
from attention_jax.decoding.base import (
    Limits,
    length_limits,
    make_request,
    restricted,
)


def test_limits_are_functions_of_the_source():
    limits = length_limits(
        np.array([0, 1, 7, 10]),
        max_ratio=1.5,
        max_offset=2,
        min_ratio=0.5,
        min_offset=1,
    )
    assert limits.longest.tolist() == [2, 3, 12, 17]
    assert limits.shortest.tolist() == [1, 1, 4, 6]


def test_a_translation_may_always_have_a_word_and_a_shortest_that_fits():
    limits = length_limits(np.array([1, 3]), max_ratio=0.3, max_offset=0, min_ratio=4.0)
    assert limits.longest.tolist() == [1, 1] and limits.shortest.tolist() == [1, 1]
    # 1.15 x 100 is a little below 115 in binary.
    limits = length_limits(
        np.array([100]), max_ratio=1.15, max_offset=0, min_ratio=0.57
    )
    assert (limits.longest.tolist(), limits.shortest.tolist()) == ([115], [57])


def test_what_may_follow():
    limits = Limits(jnp.array([0, 2, 3]), jnp.array([4, 2, 1]))

    def allowed(row, time):
        found = restricted(jnp.zeros((3, 6)), limits, jnp.full(3, time))
        return np.flatnonzero(found[row] == 0).tolist()

    words = [UNK, 4, 5]
    assert allowed(0, 0) == allowed(0, 3) == sorted([*words, EOS])
    assert allowed(0, 4) == [EOS]
    assert allowed(1, 0) == allowed(1, 1) == words
    assert allowed(1, 2) == [EOS]
    # The longest wins over the shortest.
    assert allowed(2, 0) == words and allowed(2, 1) == [EOS]


ROWS = np.zeros((2, 3), np.int32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": np.zeros((2, 3))}, TypeError, "source must hold integers"),
        ({"source": ROWS[0]}, ValueError, r"source must be \[B, S\]"),
        ({"source": ROWS[:0], "source_lengths": ROWS[:0, 0]}, ValueError, "one row"),
        ({"source_lengths": ROWS[0]}, ValueError, r"\(2, 3\) and \(3,\)"),
        ({"source_lengths": [-1, 2]}, ValueError, "at most 3, .* got -1 in row 0"),
        ({"max_length": 2.5}, TypeError, "max_length must be an integer, got 2.5"),
        ({"max_length": 0}, ValueError, "max_length must be at least 1, got 0"),
        ({"slots": -1}, ValueError, "slots must be at least 0, got -1"),
        ({"limits": Limits(np.zeros(3), ROWS[0])}, ValueError, r"shortest must"),
        ({"ids": np.arange(3)}, ValueError, r"ids must be \[2\]"),
    ],
)
def test_arguments_that_do_not_fit(change, error, message):
    arguments = {
        "source": ROWS,
        "source_lengths": np.array([3, 0], np.int32),
        "max_length": 5,
    }
    make_request(**arguments)
    make_request(**(arguments | {"max_length": jnp.int32(5)}))
    with pytest.raises(error, match=message):
        make_request(**(arguments | change))


def test_what_is_known_under_jit_is_checked_there_too():
    def search(source):
        return make_request(source, np.array([9, 2]), max_length=5).source

    with pytest.raises(ValueError, match="at most 3, .* got 9 in row 0"):
        jax.jit(search)(ROWS)
