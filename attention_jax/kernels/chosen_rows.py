"""Some rows of the attention matrix, without the others."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.checks import integers
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.kernels.dispatch import AUTO, attend_checked, check_call
from attention_jax.kernels.operands import Operands
from attention_jax.types import Array, ArrayLike, Float, Int


def attention_rows(
    query: Float[ArrayLike, "... T Q"],
    keys: Any,
    rows: Int[ArrayLike, "R"],
    *,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    params: Any = None,
    mask: Any = None,
    query_positions: Int[ArrayLike, "... T"] | None = None,
    key_positions: Int[ArrayLike, "... S"] | None = None,
) -> Float[Array, "... R S"]:
    """The weights that `attention` gives to the queries with these indices.

        a_r = normalizer(score(q_r, k_1), ..., score(q_r, k_S)),   r in rows

    A row depends on its own query only. Which rows are worth a look, `attention` tells by
    its statistics.

    Args:
      query, keys, score, normalizer, params, mask, query_positions, key_positions: as for
        `attention`, for all T queries.
      rows: integers [R] from 0 to T − 1, the same for all leading axes; any order. Traced,
        they are not checked, but clipped to the rows that there are.

    Returns:
      Weights [..., R, S] in the query's dtype.

    Raises:
      ValueError: a row is not one of the T queries; and what `attention` raises.
      TypeError: rows are not integers.

    Cost: preparing the keys, and R of the T rows of `attention`'s.

        >>> attention_rows(query, keys, [0, 41], mask=masks.causal())
    """
    operands, options = check_call(
        query,
        keys,
        np.zeros((_length(keys), 0), np.float32),
        score=score,
        normalizer=normalizer,
        params=params,
        mask=mask,
        query_positions=query_positions,
        key_positions=key_positions,
        dropout_rate=0.0,
        dropout_rng=None,
        implementation=AUTO,
        chunk_size=None,
        return_weights=True,
        statistics=(),
    )
    chosen = _check_rows(rows, operands.num_queries)
    weights = attend_checked(_only(operands, chosen), options, AUTO).weights
    assert weights is not None
    return weights


def _length(keys: Any) -> int:
    """S, or 0 of what `check_call` will refuse."""
    if isinstance(keys, PreparedKeys):
        return keys.length
    shape = np.shape(keys)
    return shape[-2] if len(shape) > 1 else 0


def _check_rows(rows: Any, num_queries: int) -> Array:
    # An empty list would be floats.
    chosen = integers("rows", rows if np.size(rows) else np.zeros(0, np.int32))
    if chosen.ndim != 1:
        raise ValueError(f"rows must be [R], but the shape is {chosen.shape}")
    if not isinstance(chosen, jax.core.Tracer):
        for row in np.asarray(chosen):
            if not 0 <= row < num_queries:
                raise ValueError(
                    f"rows must be from 0 to {num_queries - 1}, the {num_queries} "
                    f"queries, but one is {row}"
                )
    return chosen


def _only(operands: Operands, rows: Array) -> Operands:
    """The operands of these queries alone."""

    def queries(array: Array, axis: int) -> Array:
        return jnp.take(array, rows, axis=axis, mode="clip")

    mask = operands.mask
    return dataclasses.replace(
        operands,
        query=queries(operands.query, -2),
        query_positions=queries(operands.query_positions, -1),
        mask=None if mask is None else mask.of_queries(queries, operands.num_queries),
    )
