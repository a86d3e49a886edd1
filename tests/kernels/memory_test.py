"""Temporaries grow with S, not with T × S, by what XLA says of the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks


def masked_temporaries(length, make_mask):
    """Bytes that the gradient of the chunked kernel needs, two sequences."""

    def total(query, keys, values):
        context = aj.attention(
            query,
            keys,
            values,
            mask=make_mask(length),
            implementation="chunked",
            chunk_size=64,
        ).context
        return jnp.sum(context)

    arrays = [jax.ShapeDtypeStruct((2, length, 8), np.float32)] * 3
    gradient = jax.jit(jax.grad(total, argnums=(0, 1, 2)))
    return gradient.lower(*arrays).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    "make_mask",
    [
        lambda length: None,
        lambda length: masks.causal(),
        pytest.param(
            lambda length: masks.window(9, 0) & masks.padding([length, length // 2]),
            marks=pytest.mark.full,
        ),
    ],
    ids=["none", "causal", "window and padding"],
)
def test_masks_by_position_stay_in_their_block(make_mask):
    small, large = (masked_temporaries(length, make_mask) for length in (512, 4096))
    assert large < 9 * small


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
    """A few sequences are one block; the loop over them must not stack their scores."""
    x = np.ones((256, 256, 8), np.float32)

    def loss(x):
        return aj.attention(x, x, x, implementation="chunked").context.sum()

    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    scores = 256 * 256 * 256 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < scores / 4
