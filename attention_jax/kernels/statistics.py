"""What can be said about the attention matrix without keeping it."""

from collections.abc import Callable

import jax.numpy as jnp

from attention_jax.registry import Registry
from attention_jax.types import Array, Bool, Float, Int

# name -> function of one or more rows: (scores, weights, where or None) -> one number a row.
row_statistics = Registry[Callable[..., Array]]("statistic")

# Summed over the queries instead; the kernels accumulate it.
COLUMN_SUM = "column_sum"
# The one statistic that is an index of a key.
ARGMAX = "argmax"


def statistic_names() -> tuple[str, ...]:
    """What `statistics=` may ask for."""
    return (*row_statistics.names(), COLUMN_SUM)


def _register(function: Callable[..., Array]) -> Callable[..., Array]:
    return row_statistics.register(function.__name__, function, function=function)


@_register
def logsumexp(
    scores: Float[Array, "... S"],
    weights: Float[Array, "... S"],
    where: Bool[Array, "... S"] | None,
) -> Float[Array, "..."]:
    """log Σ_i exp(e_i) over the keys attended to; −inf on an empty row."""
    del weights
    if scores.shape[-1] == 0:
        return jnp.full(scores.shape[:-1], -jnp.inf, scores.dtype)
    allowed = jnp.ones(scores.shape, bool) if where is None else where
    nonempty = jnp.any(allowed, axis=-1)
    # Zeros in place of masked scores and 1 in place of an empty sum keep NaN out of
    # the derivative.
    finite = jnp.where(allowed, scores, 0)
    largest = jnp.max(jnp.where(allowed, scores, -jnp.inf), axis=-1, keepdims=True)
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    exponentials = jnp.where(allowed, jnp.exp(finite - largest), 0)
    total = jnp.where(nonempty, jnp.sum(exponentials, axis=-1), 1)
    return jnp.where(nonempty, largest[..., 0] + jnp.log(total), -jnp.inf)


@_register
def argmax(
    scores: Float[Array, "... S"],
    weights: Float[Array, "... S"],
    where: Bool[Array, "... S"] | None,
) -> Int[Array, "..."]:
    """The index of the first largest weight; −1 on an empty row."""
    del scores
    if weights.shape[-1] == 0:
        return jnp.full(weights.shape[:-1], -1, jnp.int32)
    if where is None:
        return jnp.argmax(weights, axis=-1).astype(jnp.int32)
    brightest = jnp.argmax(jnp.where(where, weights, -jnp.inf), axis=-1)
    return jnp.where(jnp.any(where, axis=-1), brightest, -1).astype(jnp.int32)


@_register
def max_weight(
    scores: Float[Array, "... S"],
    weights: Float[Array, "... S"],
    where: Bool[Array, "... S"] | None,
) -> Float[Array, "..."]:
    """max_i a_i; 0 on an empty row."""
    del scores, where
    if weights.shape[-1] == 0:
        return jnp.zeros(weights.shape[:-1], weights.dtype)
    return jnp.max(weights, axis=-1)


@_register
def entropy(
    scores: Float[Array, "... S"],
    weights: Float[Array, "... S"],
    where: Bool[Array, "... S"] | None,
) -> Float[Array, "..."]:
    """−Σ_i a_i ln a_i in nats; 0 on an empty row."""
    del scores, where
    positive = weights > 0
    logarithms = jnp.log(jnp.where(positive, weights, 1))
    return -jnp.sum(jnp.where(positive, weights * logarithms, 0), axis=-1)
