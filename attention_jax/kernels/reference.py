"""The one-query definition, the rows it is mapped to, and the kernel that takes all rows at once.

Every kernel maps `attend_one` over queries. A block of whole rows is exact for any normaliser,
since nothing has to be merged across keys; kernels differ only in how many rows they take at a
time and in what they keep.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
from attention_jax.arguments import Operands, Options
from attention_jax.functions.batching import map_leading, query_first
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.score import Score
from attention_jax.kernels.masking import dense_mask, mask_rows, zero_unused
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
    params: dict[str, Any],
    query: Float[Array, "Q"],
    keys: Any,
    values: Float[Array, "S V"],
    where: Bool[Array, "S"] | None,
    query_position: Int[Array, ""],
    key_positions: Int[Array, "S"],
    bias: Float[Array, "#S"] | None = None,
    kept: Bool[Array, "S"] | None = None,
) -> One:
    """Attention of one query to S prepared keys: the definition.

        e = score(q, k_1..k_S) + bias      a = normalizer(e)      o = Σ_i a_i v_i

    Where the weights themselves are not asked for, a normaliser that is a quotient leaves its
    division to the context, V numbers instead of S. `kept` are the keys that dropout keeps.
    """
    scores = score_keys(
        options.score, params, query, keys, where, query_position, key_positions
    )
    if bias is not None:
        scores = scores + bias
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
    params: dict[str, Any],
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


def operand_axes(operands: Operands, score: Score) -> Any:
    """The operands' own axes in the place of each array: T queries, S keys, others as dots."""
    keys, mask = operands.keys, operands.mask
    if isinstance(keys, PreparedKeys):
        letters = ["S" + "." * (core - 1) for core in keys.core_ndims]
        tree = jax.tree.structure(keys.arrays)
        keys = dataclasses.replace(keys, arrays=jax.tree.unflatten(tree, letters))
    else:
        keys = "S."
    if mask is not None:
        mask = jax.tree.unflatten(jax.tree.structure(mask), mask.leaf_axes())
    own: dict[str, Any] = {
        "query": "T.",
        "keys": keys,
        "values": "S.",
        "params": {
            name: "." * ndim
            for name, ndim in (score.param_ndims if operands.params else {}).items()
        },
        "mask": mask,
        "query_positions": "T",
        "key_positions": "S",
        "dropout_rng": None if operands.dropout_rng is None else "",
        "bias": None if operands.bias is None else "TS",
        "row_indices": None if operands.row_indices is None else "T",
        "valid": None if operands.valid is None else "T",
        "extras": jax.tree.map(lambda _: "", operands.extras),
    }
    return dataclasses.replace(operands, **own)


def make_block(
    operands: Operands, options: Options, leading: tuple[int, ...]
) -> tuple[Operands, Any]:
    """The block of a whole call, its keys prepared, and each array's own axes."""
    block = operands.prepared(options.score)
    if block.row_indices is None:
        numbers = row_numbers((*leading, block.query.shape[-2]))
        block = dataclasses.replace(block, row_indices=numbers)
    if COLUMN_SUM in options.statistics:
        valid = jnp.ones(operands.num_queries, bool)
        block = dataclasses.replace(block, valid=valid)
    return block, operand_axes(block, options.score)


def core_ndims(axes: Any) -> Any:
    """The number of each array's own axes, as `map_leading` takes them."""
    return jax.tree.map(len, axes)


def take_queries(
    block: Operands, axes: Any, take: Callable[[Array, int], Array]
) -> Operands:
    """The block of the queries that `take(array, axis)` takes along their axis."""

    def taken(array: Array, letters: str) -> Array:
        if "T" not in letters:
            return array
        axis = letters.index("T") - len(letters)
        return take(array, axis) if array.shape[axis] == block.num_queries else array

    return jax.tree.map(taken, block, axes)


def take_keys(
    block: Operands, axes: Any, start: Int[Array, ""], width: int
) -> Operands:
    """The block of `width` keys from `start` on."""

    def taken(array: Array, letters: str) -> Array:
        axis = letters.find("S") - len(letters)
        if "S" not in letters or array.shape[axis] == 1:
            return array
        return jax.lax.dynamic_slice_in_dim(array, start, width, axis)

    mask = block.mask
    block, axes = (dataclasses.replace(x, mask=None) for x in (block, axes))
    some = jax.tree.map(taken, block, axes)
    mask = None if mask is None else mask.keys_from(start, width)
    return dataclasses.replace(some, mask=mask)


def row_numbers(shape: tuple[int, ...]) -> Int[Array, "... T"]:
    """A number for every query of a call [..., T]."""
    return jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)


def attend_rows(options: Options, block: Operands) -> Rows:
    """`attend_one` mapped over the queries of a block, and their statistics.

    Args:
      options: of the call.
      block: of one sequence, without leading axes, its keys prepared.
    """
    assert isinstance(block.keys, PreparedKeys)
    num_queries, num_keys = block.query.shape[0], block.values.shape[0]
    keys = block.keys.arrays
    describes = options.return_weights or options.statistics
    where = bias = None
    if block.mask is not None:
        where = mask_rows(block.mask, block.query_positions, block.key_positions)
    if block.bias is not None:
        bias = jnp.broadcast_to(block.bias, (num_queries, block.bias.shape[-1]))

    def one(query, where, query_position, row_index, bias):
        kept = None
        if block.dropout_rng is not None:
            row = jax.random.fold_in(block.dropout_rng, row_index)
            kept = jax.random.bernoulli(row, 1 - options.dropout_rate, (num_keys,))
        found = attend_one(
            options,
            {**block.params, **block.extras},
            query,
            keys,
            block.values,
            where,
            query_position,
            block.key_positions,
            bias,
            kept,
        )
        described = (found.scores, found.weights) if describes else None
        return found.context, found.total, described

    rows = (block.query, where, block.query_positions, block.row_indices, bias)
    in_axes = tuple(None if array is None else 0 for array in rows)
    context, total, described = jax.vmap(
        query_first(one, num_queries), in_axes=in_axes
    )(*rows)
    if described is None:
        return Rows(context, total, None, {}, None)
    scores, weights = described
    statistics = statistics_of_rows(options.statistics, scores, weights, where)
    column_sum = None
    if COLUMN_SUM in options.statistics:
        assert block.valid is not None
        column_sum = jnp.sum(jnp.where(block.valid[:, None], weights, 0), axis=0)
    returned = weights if options.return_weights else None
    return Rows(context, None, returned, statistics, column_sum)


def attend_reference(operands: Operands, options: Options) -> Rows:
    """Scores and weights of all T queries at once, per sequence.

    Cost: the score's FLOPs + 2·T·S·V per sequence; keeps [..., T, S] scores, and whatever
    the score needs per query and key ([..., T, S, A] for `additive` where the compiler
    does not fuse it).
    """
    if operands.mask is not None:
        allowed = dense_mask(
            operands.mask, operands.query_positions, operands.key_positions
        )
        operands = zero_unused(operands, jnp.any(allowed, axis=-2))
        operands = dataclasses.replace(operands, mask=masks.Dense(allowed))
    leading = operands.leading(options.score)
    block, axes = make_block(operands, options, leading)

    def one_sequence(block: Operands) -> Rows:
        return attend_rows(options, block).divided()

    return map_leading(one_sequence, leading, [block], [core_ndims(axes)])
