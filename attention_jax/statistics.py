"""What can be said about the attention matrix without keeping it."""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from attention_jax.functions import numbers, ordering
from attention_jax.functions.registry import Registry
from attention_jax.normalizers import rounded
from attention_jax.types import Array, Bool, Float, Int

Scores = Float[Array, "... S"]
Allowed = Bool[Array, "... S"] | None

# name -> function of one or more rows: (scores, weights, where or None) -> one number a row.
row_statistics = Registry[Callable[..., Array]]("statistic")

# Summed over the queries instead; the kernels accumulate it.
COLUMN_SUM = "column_sum"
# What `top_k` gives.
TOP_WEIGHTS, TOP_INDICES = "top_k_weights", "top_k_indices"
# Results that are indices of keys; -1 is none.
KEY_INDICES = ("argmax", TOP_INDICES)


def statistic_names() -> tuple[str, ...]:
    """What `statistics=` may ask for by name; `top_k` is asked for by calling it."""
    return (*row_statistics.names(), COLUMN_SUM)


@dataclasses.dataclass(frozen=True)
class TopK:
    """What `top_k` returns: k ≥ 1."""

    k: int


def top_k(k: int) -> TopK:
    """Asks `attention` for the k largest weights of each query and whose they are.

        attention(..., statistics=("entropy", top_k(3)))

    adds two statistics, both [..., T, k], at memory linear in S: `top_k_weights`, falling,
    and `top_k_indices`, the keys'; equal weights come in the order of their keys. A query
    that may attend to fewer than k keys has weights 0 and indices −1 in the last places. The
    weights may be differentiated.

    Raises:
      TypeError: k is not an integer.
      ValueError: it is below 1.
    """
    return TopK(numbers.count("top_k: k", k))


def result_names(statistics: Sequence[str | TopK]) -> tuple[str, ...]:
    """The names of the arrays that these statistics give."""
    names: list[str] = []
    for one in statistics:
        names += (TOP_WEIGHTS, TOP_INDICES) if isinstance(one, TopK) else (one,)
    return tuple(names)


def statistics_of_rows(
    statistics: Sequence[str | TopK],
    scores: Scores,
    weights: Scores,
    where: Allowed,
) -> dict[str, Array]:
    """All of them but `column_sum`, by name."""
    found: dict[str, Array] = {}
    for one in statistics:
        if isinstance(one, TopK):
            found[TOP_WEIGHTS], found[TOP_INDICES] = _largest(one.k, weights, where)
        elif one != COLUMN_SUM:
            found[one] = row_statistics.get(one)(scores, weights, where)
    return found


def _largest(
    k: int, weights: Scores, where: Allowed
) -> tuple[Float[Array, "... k"], Int[Array, "... k"]]:
    allowed = weights if where is None else jnp.where(where, weights, -jnp.inf)
    size = weights.shape[-1]
    # Where the size is a symbol, there may be as few keys as none.
    missing = max(0, k - size) if isinstance(size, int) else k
    padding = [(0, 0)] * (weights.ndim - 1) + [(0, missing)]
    padded = jnp.pad(allowed, padding, constant_values=-jnp.inf)
    largest, indices = ordering.top_k(padded, k)
    none = jnp.isneginf(largest)
    return jnp.where(none, 0, largest), jnp.where(none, -1, indices)


def _register(function: Callable[..., Array]) -> Callable[..., Array]:
    return row_statistics.register(function.__name__, function, function=function)


@_register
def logsumexp(scores: Scores, weights: Scores, where: Allowed) -> Float[Array, "..."]:
    """log Σ_i exp(e_i) over the keys attended to; −inf on an empty row."""
    del weights
    if scores.shape[-1] == 0:
        return jnp.full(scores.shape[:-1], -jnp.inf, scores.dtype)
    # A score of −inf adds nothing, and an infinite tangent where it is differentiated.
    allowed = ~jnp.isneginf(scores) if where is None else where & ~jnp.isneginf(scores)
    nonempty = jnp.any(allowed, axis=-1)
    # Zeros in place of masked scores and 1 in place of an empty sum keep NaN out of
    # the derivative.
    finite = jnp.where(allowed, scores, 0)
    largest = jnp.max(jnp.where(allowed, scores, -jnp.inf), axis=-1, keepdims=True)
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    exponentials = jnp.where(allowed, jnp.exp(rounded(finite) - largest), 0)
    total = jnp.where(nonempty, jnp.sum(exponentials, axis=-1), 1)
    return jnp.where(nonempty, largest[..., 0] + jnp.log(total), -jnp.inf)


@_register
def argmax(scores: Scores, weights: Scores, where: Allowed) -> Int[Array, "..."]:
    """The index of the first largest weight; −1 on an empty row."""
    del scores
    if weights.shape[-1] == 0:
        return jnp.full(weights.shape[:-1], -1, jnp.int32)
    if where is None:
        return jnp.argmax(weights, axis=-1).astype(jnp.int32)
    largest = jnp.argmax(jnp.where(where, weights, -jnp.inf), axis=-1)
    return jnp.where(jnp.any(where, axis=-1), largest, -1).astype(jnp.int32)


@_register
def max_weight(scores: Scores, weights: Scores, where: Allowed) -> Float[Array, "..."]:
    """max_i a_i; 0 on an empty row."""
    del scores, where
    if weights.shape[-1] == 0:
        return jnp.zeros(weights.shape[:-1], weights.dtype)
    return jnp.max(weights, axis=-1)


@_register
def entropy(scores: Scores, weights: Scores, where: Allowed) -> Float[Array, "..."]:
    """−Σ_i a_i ln a_i in nats; 0 on an empty row."""
    del scores, where
    positive = ~(weights <= 0)  # a NaN stays one
    logarithms = jnp.log(jnp.where(positive, weights, 1))
    return -jnp.sum(jnp.where(positive, weights * logarithms, 0), axis=-1)
