"""Temporaries grow with S, not with T × S, by what XLA says of the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks


def temporaries(length, make_mask):
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
        lambda length: masks.window(9, 0) & masks.padding([length, length // 2]),
    ],
    ids=["none", "causal", "window and padding"],
)
def test_memory_is_linear_in_the_length(make_mask):
    small, large = (temporaries(length, make_mask) for length in (512, 4096))
    assert large < 9 * small
