"""One query: the three stages composed. This is the definition."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.averaging import average
from attention_jax.checks import check_params, compute_dtype, floating, integers
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.prepared import PreparedKeys, run_prepare
from attention_jax.functions.score import Score, get_score
from attention_jax.types import Array, ArrayLike, Bool, Float, Int


class Attended(NamedTuple):
    """What one query took from the values.

    Attributes:
      context: o = Σ_i a_i v_i.
      weights: a = normalizer(score(q, k_1..k_S)).
    """

    context: Float[Array, "V"]
    weights: Float[Array, "S"]


def attend(
    query: Float[ArrayLike, "Q"],
    keys: Any,
    values: Float[ArrayLike, "S V"],
    *,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    where: Bool[ArrayLike, "S"] | None = None,
    params: Any = None,
    query_position: Any = 0,
    key_positions: Int[ArrayLike, "S"] | None = None,
) -> Attended:
    """Attention of one query to S keys and their values.

        e = score(q, k_1..k_S)      a = normalizer(e)      o = Σ_i a_i v_i

    Args:
      query: q.
      keys: [S, K], or what `prepare_keys` returned for this score.
      values: v_1..v_S.
      score: anything `get_score` takes.
      normalizer: anything `get_normalizer` takes.
      where: True = attend; all if not given.
      params: the score's parameters.
      query_position: for scores with positions.
      key_positions: for scores with positions; 0..S−1 if not given.

    Returns:
      Context [V] and weights [S] in the query's dtype, computed in promote(query dtype,
      float32). If there is nothing to attend to, both are 0, gradients too. A NaN or
      infinity in a masked key or value reaches neither outputs nor gradients.

    Raises:
      ValueError: a shape does not fit, or params are missing.
      TypeError: a dtype does not fit.
      UnknownNameError: an unknown score or normaliser; lists the known ones.

    Cost: the score's, the normaliser's, and 2·S·V FLOPs.
    """
    score, normalizer = get_score(score), get_normalizer(normalizer)
    query, values = floating("query", query), floating("values", values)
    if query.ndim != 1:
        raise ValueError(f"query must be [Q], but its shape is {query.shape}")
    if values.ndim != 2:
        raise ValueError(f"values must be [S, V], but their shape is {values.shape}")
    dtype = compute_dtype(query)
    if isinstance(keys, PreparedKeys):
        check_prepared_for(score, keys)
        if keys.leading:
            raise ValueError(
                f"keys must be one sequence, but have leading axes {keys.leading}"
            )
        length, key_size = keys.length, None
    else:
        keys = floating("keys", keys)
        if keys.ndim != 2:
            raise ValueError(f"keys must be [S, K], but their shape is {keys.shape}")
        length, key_size = keys.shape
    params = check_params(score, params, query_size=query.shape[0], key_size=key_size)
    if values.shape[0] != length:
        raise ValueError(
            f"keys and values must be equally many, but there are {length} keys "
            f"and values of shape {values.shape}"
        )
    if where is not None:
        where = jnp.asarray(where)
        if where.dtype != bool:
            raise TypeError(
                f"where must be boolean (True = attend), but its dtype is {where.dtype}"
            )
        if where.shape != (length,):
            raise ValueError(
                f"where must be [{length}], but its shape is {where.shape}"
            )
        values = jnp.where(where[:, None], values, 0)
        keys = (
            keys.zero_where_not(where)
            if isinstance(keys, PreparedKeys)
            else jnp.where(where[:, None], keys, 0)
        )
    if key_positions is None:
        key_positions = jnp.arange(length)
    key_positions = integers("key_positions", key_positions)
    if key_positions.shape != (length,):
        raise ValueError(
            f"key_positions must be [{length}], but their shape is {key_positions.shape}"
        )
    prepared = (
        keys.astype(dtype)
        if isinstance(keys, PreparedKeys)
        else run_prepare(score, keys, params, dtype)
    )
    scores = score_keys(
        score,
        query.astype(dtype),
        prepared.arrays,
        {name: value.astype(dtype) for name, value in params.items()},
        where,
        integers("query_position", query_position),
        key_positions,
    )
    weights = normalizer(scores, where)
    context = average(weights, values.astype(dtype))
    return Attended(context.astype(query.dtype), weights.astype(query.dtype))


def score_keys(
    score: Score,
    query: Float[Array, "Q"],
    prepared: Any,
    params: dict[str, Array],
    where: Bool[Array, "S"] | None,
    query_position: Int[Array, ""],
    key_positions: Int[Array, "S"],
) -> Float[Array, "S"]:
    """The first stage for one query: its scores, checked."""
    arguments = dict(params)
    if score.positions:
        if where is None:
            last = jnp.max(key_positions, initial=-1)
        else:
            last = jnp.max(jnp.where(where, key_positions, -1), initial=-1)
        arguments |= {
            "query_position": query_position,
            "key_positions": key_positions,
            "key_length": last + 1,
        }
    scores = score(query, prepared, **arguments)
    if not isinstance(scores, jax.Array | np.ndarray):
        raise TypeError(
            f"the score {score.name!r} must return an array of one score per key, "
            f"but returned {type(scores).__name__}"
        )
    if scores.shape != key_positions.shape:
        raise ValueError(
            f"the score {score.name!r} must return one score per key, "
            f"{list(key_positions.shape)}, but returned {list(scores.shape)}"
        )
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(
            f"the score {score.name!r} must return floating-point scores, which have a "
            f"gradient, but returned {scores.dtype}"
        )
    return jnp.asarray(scores)


def check_prepared_for(score: Score, keys: PreparedKeys) -> None:
    """Raises ValueError unless `keys` were prepared for this score."""
    if keys.score.prepare != score.prepare:
        raise ValueError(
            f"keys were prepared for the score {keys.score!r}, not for {score!r}"
        )
