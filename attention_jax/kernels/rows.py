"""Attention of some queries to one whole sequence of keys: what every kernel is made of.

A block of whole rows is exact for any normaliser, since nothing has to be merged across
keys; kernels differ only in how many rows they take at a time and in what they keep.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.averaging import average
from attention_jax.kernels.operands import Options
from attention_jax.kernels.query_first import query_first
from attention_jax.single_query import score_keys
from attention_jax.statistics import COLUMN_SUM, statistics_of_rows
from attention_jax.types import Array, Bool, Float, Int


class Rows(NamedTuple):
    """The result for t queries, in the dtype of the computation.

    Attributes:
      context: [t, V], still to be divided by the denominators if there are any.
      denominators: [t, 1], or None.
      weights: [t, S], before dropout, or None if not asked for.
      statistics: [t, ...] each, but `column_sum`.
      column_sum: [S], the weights summed over the t rows, or None if not asked for.
    """

    context: Float[Array, "t V"]
    denominators: Float[Array, "t 1"] | None
    weights: Float[Array, "t S"] | None
    statistics: dict[str, Array]
    column_sum: Float[Array, "S"] | None


def attend_rows(
    options: Options,
    params: dict[str, Array],
    query: Float[Array, "t Q"],
    prepared: Any,
    values: Float[Array, "S V"],
    where: Bool[Array, "t S"] | None,
    query_positions: Int[Array, "t"],
    key_positions: Int[Array, "S"],
    row_indices: Int[Array, "t"],
    dropout_rng: Array | None,
    valid: Bool[Array, "t"] | None = None,
) -> Rows:
    """Scores, weights and context of t queries of one sequence.

    `row_indices` number the rows of the whole call; dropout is drawn from them, so that
    it does not depend on how rows are grouped into blocks. `valid` says which rows are
    more than filling; the others do not count in sums over rows.
    """

    describes = options.return_weights or options.statistics

    def one(query, where, query_position, row_index):
        scores = score_keys(
            options.score,
            query,
            prepared,
            params,
            where,
            query_position,
            key_positions,
        )
        if describes:
            weights, denominators = options.normalizer(scores, where), None
        else:
            weights, denominators = options.normalizer.as_ratio(scores, where)
        used = weights
        if dropout_rng is not None:
            kept = keep_row(
                dropout_rng, row_index, scores.shape[0], options.dropout_rate
            )
            used = jnp.where(kept, weights / (1 - options.dropout_rate), 0)
        context = average(used, values)
        return context, denominators, (scores, weights) if describes else None

    in_axes = (0, None if where is None else 0, 0, 0)
    context, denominators, described = jax.vmap(
        query_first(one, query.shape[0]), in_axes=in_axes
    )(query, where, query_positions, row_indices)
    if described is None:
        return Rows(context, denominators, None, {}, None)
    scores, weights = described
    statistics = statistics_of_rows(options.statistics, scores, weights, where)
    column_sum = None
    if COLUMN_SUM in options.statistics:
        counted = weights if valid is None else jnp.where(valid[:, None], weights, 0)
        column_sum = jnp.sum(counted, axis=0)
    return Rows(
        context,
        None,
        weights if options.return_weights else None,
        statistics,
        column_sum,
    )


def divided(rows: Rows) -> Rows:
    """The rows with their context divided by its denominators.

    Apart from `attend_rows`, so that a kernel that computes rows again for the backward
    pass keeps what the division needs, V + 1 numbers a row, and need not average again.
    """
    if rows.denominators is None:
        return rows
    return rows._replace(context=rows.context / rows.denominators, denominators=None)


def keep_row(
    rng: Array, row_index: Int[Array, ""], num_keys: int, rate: float
) -> Bool[Array, "S"]:
    """True with probability 1 − rate, from the row's own number alone."""
    return jax.random.bernoulli(
        jax.random.fold_in(rng, row_index), 1 - rate, (num_keys,)
    )
