"""The k likeliest tokens of a vocabulary, without sorting it."""

import jax.numpy as jnp
from jax import lax

from attention_jax.functions.ordering import top_k
from attention_jax.types import Array, Float, Int

# Entries a block; the maximum of each is one vectorised pass.
_BLOCK = 64


def log_sum_exp(logits: Float[Array, "... W"]) -> Float[Array, " ..."]:
    """log Σ_w exp(logits_w), shifted by the maximum; logits are finite.

    `jax.nn.logsumexp` without what it does for infinities and signs.
    """
    maximum = jnp.max(logits, axis=-1)
    return maximum + jnp.log(jnp.sum(jnp.exp(logits - maximum[..., None]), axis=-1))


def first_maximum(
    values: Float[Array, "... W"],
) -> tuple[Float[Array, " ..."], Int[Array, " ..."]]:
    """The largest value and the lowest index that has it.

    As `argmax`, in two passes that XLA's CPU compiler vectorises, where it does argmax an
    element at a time.
    """
    maximum = jnp.max(values, axis=-1)
    size = values.shape[-1]
    index = lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
    # The maximum is NaN where a value is.
    found = (values == maximum[..., None]) | jnp.isnan(values)
    places = jnp.where(found, index, size - 1)
    return maximum, jnp.min(places, axis=-1)


def top_k_tokens(
    values: Float[Array, "... W"], k: int
) -> tuple[Float[Array, "... k"], Int[Array, "... k"]]:
    """The k largest values, largest first, and where they are; ties to the lower index.

    Equal to `ordering.top_k`, which sorts. The k largest lie in the k blocks with the largest
    maxima: a block that is not among them has k others in front of it, and so has each
    of its values. So one pass for the maxima, and top_k of W/64 and of 64k numbers.
    """
    size = values.shape[-1]
    blocks = -(-size // _BLOCK)
    if k == 1:
        maximum, index = first_maximum(values)
        return maximum[..., None], index[..., None]
    if blocks <= 2 * k:
        return top_k(values, k)
    lead = values.shape[:-1]
    padding = [(0, 0)] * len(lead) + [(0, blocks * _BLOCK - size)]
    padded = jnp.pad(values, padding, constant_values=-jnp.inf)
    maxima = jnp.max(padded.reshape(*lead, blocks, _BLOCK), axis=-1)
    # In their own order, so that ties go to the lower index again.
    chosen = jnp.sort(top_k(maxima, k)[1], axis=-1)
    inside = jnp.arange(_BLOCK, dtype=jnp.int32).reshape(*[1] * len(lead), 1, _BLOCK)
    index = (chosen[..., None] * _BLOCK + inside).reshape(*lead, k * _BLOCK)
    # From `values`: padding is then part of the maxima's pass, and is never written.
    few = jnp.take_along_axis(values, jnp.minimum(index, size - 1), axis=-1)
    top, place = top_k(jnp.where(index < size, few, -jnp.inf), k)
    return top, jnp.take_along_axis(index, place, axis=-1)
