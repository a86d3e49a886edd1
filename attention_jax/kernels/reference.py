"""The one-query definition, the rows it is mapped to, and the kernel that takes all rows at once.

Every kernel maps `attend_one` over queries. A block of whole rows is exact for any normaliser,
since nothing has to be merged across keys; kernels differ only in how many rows they take at a
time and in what they keep.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.arguments import Operands, Options
from attention_jax.functions.batching import map_leading, query_first
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.score import Score
from attention_jax.kernels.masking import dense_mask, zero_unused
from attention_jax.statistics import COLUMN_SUM, statistics_of_rows
from attention_jax.types import Array, Bool, Float, Int


class One(NamedTuple):
    """What `attend_one` computes for a query.

    Attributes:
      context: [V], still to be divided by `total` if there is one.
      total: [1], or None.
      scores: [S].
      weights: [S], before dropout, still to be divided by `total` if there is one.
    """

    context: Float[Array, "V"]
    total: Float[Array, "1"] | None
    scores: Float[Array, "S"]
    weights: Float[Array, "S"]


def attend_one(
    options: Options,
    params: dict[str, Array],
    query: Float[Array, "Q"],
    keys: Any,
    values: Float[Array, "S V"],
    where: Bool[Array, "S"] | None,
    query_position: Int[Array, ""],
    key_positions: Int[Array, "S"],
    kept: Bool[Array, "S"] | None = None,
) -> One:
    """Attention of one query to S prepared keys: the definition.

        e = score(q, k_1..k_S)      a = normalizer(e)      o = Σ_i a_i v_i

    Where the weights themselves are not asked for, a normaliser that is a quotient leaves its
    division to the context, V numbers instead of S. `kept` are the keys that dropout keeps.
    """
    scores = score_keys(
        options.score, params, query, keys, where, query_position, key_positions
    )
    if options.return_weights or options.statistics:
        weights, total = options.normalizer(scores, where), None
    else:
        weights, total = options.normalizer.as_ratio(scores, where)
    used = weights
    if kept is not None:
        used = jnp.where(kept, weights / (1 - options.dropout_rate), 0)
    return One(weighted_average(used, values), total, scores, weights)


def score_keys(
    score: Score,
    params: dict[str, Array],
    query: Float[Array, "Q"],
    keys: Any,
    where: Bool[Array, "S"] | None,
    query_position: Int[Array, ""],
    key_positions: Int[Array, "S"],
) -> Float[Array, "S"]:
    """The first stage: one query's scores, checked."""
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
    scores = score(query, keys, **arguments)
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


def weighted_average(
    weights: Float[Array, "... S"], values: Float[Array, "... S V"]
) -> Float[Array, "... V"]:
    """The third stage: Σ_i a_i v_i; see `attention_jax.average`."""
    return jnp.einsum("...s,...sv->...v", weights, values)


class Rows(NamedTuple):
    """The result for t queries, in the dtype of the computation.

    Attributes:
      context: [t, V], still to be divided by `total` if there is one.
      total: [t, 1], or None.
      weights: [t, S], before dropout, or None if not asked for.
      statistics: [t, ...] each, but `column_sum`.
      column_sum: [S], the weights summed over the t rows, or None if not asked for.
    """

    context: Float[Array, "t V"]
    total: Float[Array, "t 1"] | None
    weights: Float[Array, "t S"] | None
    statistics: dict[str, Array]
    column_sum: Float[Array, "S"] | None

    def divided(self) -> "Rows":
        """The rows with their context divided by its total.

        Apart from `attend_rows`, so that a kernel that computes rows again for the backward
        pass keeps what the division needs, V + 1 numbers a row, and need not average again.
        """
        if self.total is None:
            return self
        return self._replace(context=self.context / self.total, total=None)


class Block(NamedTuple):
    """The arrays of t queries of one sequence, without leading axes.

    Attributes:
      keys: the leaves of the score's prepared keys, [S, ...] each.
      row_indices: the rows' numbers in the whole call; dropout is drawn from them, so that it
        does not depend on how rows are grouped into blocks.
      valid: which rows are not padding and count in sums over rows; None for all.
    """

    params: dict[str, Array]
    query: Float[Array, "t Q"]
    keys: list[Array]
    values: Float[Array, "S V"]
    query_positions: Int[Array, "t"]
    key_positions: Int[Array, "S"]
    row_indices: Int[Array, "t"]
    dropout_rng: Array | None
    valid: Bool[Array, "t"] | None = None


def attend_rows(
    options: Options, keys_tree: Any, block: Block, where: Bool[Array, "t S"] | None
) -> Rows:
    """`attend_one` mapped over the queries of a block, and their statistics."""
    keys = jax.tree.unflatten(keys_tree, block.keys)
    describes = options.return_weights or options.statistics

    def one(query, where, query_position, row_index):
        kept = None
        if block.dropout_rng is not None:
            row = jax.random.fold_in(block.dropout_rng, row_index)
            num_keys = block.values.shape[0]
            kept = jax.random.bernoulli(row, 1 - options.dropout_rate, (num_keys,))
        found = attend_one(
            options,
            block.params,
            query,
            keys,
            block.values,
            where,
            query_position,
            block.key_positions,
            kept,
        )
        described = (found.scores, found.weights) if describes else None
        return found.context, found.total, described

    in_axes = (0, None if where is None else 0, 0, 0)
    context, total, described = jax.vmap(
        query_first(one, block.query.shape[0]), in_axes=in_axes
    )(block.query, where, block.query_positions, block.row_indices)
    if described is None:
        return Rows(context, total, None, {}, None)
    scores, weights = described
    statistics = statistics_of_rows(options.statistics, scores, weights, where)
    column_sum = None
    if COLUMN_SUM in options.statistics:
        valid = block.valid
        counted = weights if valid is None else jnp.where(valid[:, None], weights, 0)
        column_sum = jnp.sum(counted, axis=0)
    returned = weights if options.return_weights else None
    return Rows(context, None, returned, statistics, column_sum)


def attend_reference(operands: Operands, options: Options) -> Rows:
    """Scores and weights of all T queries at once, per sequence.

    Cost: the score's FLOPs + 2·T·S·V per sequence; keeps [..., T, S] scores, and whatever
    the score needs per query and key ([..., T, S, A] for `additive` where the compiler
    does not fuse it).
    """
    masks, cores = [], []
    if operands.mask is not None:
        dense = dense_mask(
            operands.mask, operands.query_positions, operands.key_positions
        )
        operands = zero_unused(operands, jnp.any(dense, axis=-2))
        masks, cores = [dense], [2]
    operands = operands.prepared(options.score)
    assert isinstance(operands.keys, PreparedKeys)
    leaves, tree = jax.tree.flatten(operands.keys.arrays)
    leading, num_queries, num_keys = operands.shape

    def one_sequence(*arrays: Array) -> Rows:
        query, values, query_positions, key_positions, row_indices, *rest = arrays
        where = None
        if masks:
            where = jnp.broadcast_to(rest.pop(0), (num_queries, num_keys))
        block = Block(
            operands.params,
            query,
            rest,
            values,
            query_positions,
            key_positions,
            row_indices,
            operands.dropout_rng,
        )
        return attend_rows(options, tree, block, where).divided()

    arrays = [
        operands.query,
        operands.values,
        operands.query_positions,
        operands.key_positions,
        row_numbers(leading, num_queries),
        *masks,
        *leaves,
    ]
    core_ndims = [2, 2, 1, 1, 1, *cores, *operands.keys.core_ndims]
    return map_leading(one_sequence, leading, arrays, core_ndims)


def row_numbers(leading: tuple[int, ...], num_queries: int) -> Int[Array, "... T"]:
    """A number for every query of the call."""
    shape = (*leading, num_queries)
    return jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
