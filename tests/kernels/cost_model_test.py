"""Block sizes follow what the score computes."""

import jax
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.arguments import AttentionCall, Options
from attention_jax.kernels import cost_model
from attention_jax.kernels.cost_model import bytes_per_query, rows_per_block
from tests.attention_cases import arrays

S, A = 50, 5


def call(score, **shape):
    case = arrays(score, S=S, **shape)
    return AttentionCall(*case[:3], score=score, params=case.params).check()


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
    monkeypatch.setattr(cost_model, "REFERENCE_BYTES", needed)
    assert cost_model.choose(operands, options) == "reference"
    monkeypatch.setattr(cost_model, "REFERENCE_BYTES", needed - 1)
    assert cost_model.choose(operands, options) == "chunked"


@pytest.mark.parametrize(
    ("score", "keys", "rows"),
    [
        ("scaled_dot", 1024, 1024),
        ("scaled_dot", 8192, 256),
        ("scaled_dot", 65536, 64),
        ("additive", 1024, 128),
        ("additive", 65536, 8),
        ("additive", 2**20, 1),
    ],
)
def test_rows_of_a_block(score, keys, rows):
    """4 MiB, but no fewer than are worth a pass over the keys, and that within 16 MiB."""
    x = np.zeros((2, 8), np.float32)
    many = np.broadcast_to(x[:1], (keys, 8))
    params = aj.init_score_params(jax.random.key(0), score, query_size=8, key_size=8)
    operands, options = AttentionCall(x, many, many, score, params=params).check()
    assert rows_per_block(operands, bytes_per_query(operands, options)) == rows


def test_a_score_that_prints_is_measured_too():
    """An equation without results has no size."""

    def prints(query, keys):
        jax.debug.print("one of them is {}", query[0])
        return keys @ query

    case = arrays("dot", S=S)
    operands, options = AttentionCall(*case[:3], score=prints).check()
    assert bytes_per_query(operands, options) == 4 * S
