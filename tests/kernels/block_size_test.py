"""Block sizes follow what the score computes, and memory follows block sizes."""

import jax
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.kernels import dispatch
from attention_jax.kernels.arguments import check_operands
from attention_jax.kernels.block_size import bytes_per_query
from attention_jax.kernels.operands import Options
from tests.attention_cases import arrays

S, A = 50, 5


def call(score, **shape):
    case = arrays(score, S=S, **shape)
    options = Options(aj.get_score(score), aj.softmax)
    operands = check_operands(
        options,
        *case[:3],
        params=case.params,
        mask=None,
        query_positions=None,
        key_positions=None,
        dropout_rng=None,
    )
    return operands, options


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("dot", 4 * S),
        ("bilinear", 4 * S),
        ("euclidean", 4 * S),
        ("location", 4 * S),  # its [S, A] features do not depend on the query
        ("additive", 4 * S * A),
    ],
)
def test_bytes_per_query(score, expected):
    assert bytes_per_query(*call(score)) == expected


def test_a_users_broadcast_is_counted():
    def manhattan(query, keys):
        return -abs(keys - query[None, :]).sum(-1)

    case = arrays("dot", S=S)
    options = Options(aj.get_score(manhattan), aj.softmax)
    operands = call("dot")[0]
    assert bytes_per_query(operands, options) == 4 * S * case.keys.shape[-1]


def test_auto_takes_the_reference_while_it_is_small(monkeypatch):
    operands, options = call("dot", leading=(2,))
    needed = 2 * 5 * 4 * S
    monkeypatch.setattr(dispatch, "REFERENCE_BYTES", needed)
    assert dispatch.choose(operands, options) == "reference"
    monkeypatch.setattr(dispatch, "REFERENCE_BYTES", needed - 1)
    assert dispatch.choose(operands, options) == "chunked"


def temporaries(T, implementation, score):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, 8)).astype(np.float32)
    params = aj.init_score_params(jax.random.key(0), score, query_size=8, key_size=8)

    def loss(x):
        return aj.attention(
            x, x, x, score=score, params=params, implementation=implementation
        ).context.sum()

    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("score", ["scaled_dot", "additive"])
def test_memory_grows_with_the_keys_not_with_queries_times_keys(score):
    """Gradient included. The block shrinks as the row grows, so temporaries stay put."""
    short, long = (temporaries(T, "chunked", score) for T in (4096, 16384))
    assert long < 4.2 * short
    assert temporaries(4096, "reference", score) > 4096 * 4096 * 4
    assert long < 16384 * 16384 * 4 / 8


def test_many_short_sequences_keep_no_scores_for_the_backward_pass():
    """Each sequence is one block; the loop over sequences must not stack their scores."""
    x = np.ones((64, 256, 8), np.float32)

    def loss(x):
        return aj.attention(x, x, x, implementation="chunked").context.sum()

    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    scores = 64 * 256 * 256 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < scores / 4


def test_a_score_that_prints_is_measured_too():
    """An equation without results has no size."""

    def prints(query, keys):
        jax.debug.print("one of them is {}", query[0])
        return keys @ query

    case = arrays("dot", S=S)
    operands = check_operands(
        Options(aj.get_score(prints), aj.softmax),
        *case[:3],
        params=None,
        mask=None,
        query_positions=None,
        key_positions=None,
        dropout_rng=None,
    )
    options = Options(aj.get_score(prints), aj.softmax)
    assert bytes_per_query(operands, options) == 4 * S
