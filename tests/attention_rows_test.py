"""`attention_rows`: rows of the matrix that `attention` would return whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from tests.attention_cases import arrays, run
from tests.tolerances import assert_close

T, S = 5, 7
ROWS = [4, 0, 3]


@pytest.mark.parametrize("score", aj.score_names())
def test_rows_are_those_of_the_matrix(score):
    """Masks by array, by length, by id and by position; positions that are not indices."""
    case = arrays(score, T=T, S=S, leading=(2,))
    mask = masks.dense(case.mask) & masks.padding([7, 5]) | masks.segments(
        np.arange(T) // 2, np.arange(S) // 2
    ) & masks.causal() & masks.dense(np.ones((1, S), bool))
    given = {"mask": mask, "query_positions": np.arange(T) + 2}
    expected = run(case, score, "softmax", return_weights=True, **given).weights
    given |= {"score": score, "params": case.params}
    for keys in (case.keys, aj.prepare_keys(score, case.keys, case.params)):
        actual = aj.attention_rows(case.query, keys, ROWS, **given)
        assert_close(actual, expected[:, ROWS])


def test_it_costs_its_rows_alone():
    """16,384² weights would be 1 GiB; also under jit, with rows that are traced."""
    x = jax.ShapeDtypeStruct((16_384, 8), jnp.float32)
    rows = jax.ShapeDtypeStruct((2,), jnp.int32)
    function = jax.jit(lambda x, rows: aj.attention_rows(x, x, rows))
    memory = function.lower(x, rows).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 8 * 16_384 * 4 * 2


def test_no_rows_and_rows_that_are_traced():
    case = arrays("dot", T=T, S=S)
    assert aj.attention_rows(case.query, case.keys, []).shape == (0, S)
    traced = jax.jit(lambda rows: aj.attention_rows(*case[:2], rows, score="dot"))
    whole = run(case, "dot", "softmax", mask=None, return_weights=True).weights
    assert_close(traced(np.array([1, 99])), whole[np.array([1, T - 1])])


@pytest.mark.parametrize(
    ("rows", "given", "error", "message"),
    [
        (
            [0, 5],
            {},
            ValueError,
            "rows must be from 0 to 4, the 5 quer.*, but one is 5",
        ),
        (2, {}, ValueError, r"rows must be \[R\].*\(\)"),
        ([0.5], {}, TypeError, "rows must be integers"),
        ([0], {"mask": np.ones((3, 7), bool)}, ValueError, r"\[5, 7\].*\(3, 7\)"),
    ],
)
def test_errors_are_those_of_attention_and_of_rows(rows, given, error, message):
    case = arrays("dot", T=T, S=S)
    with pytest.raises(error, match=message):
        aj.attention_rows(case.query, case.keys, rows, **given)
