"""What a kernel works on: the arrays of some queries and some keys, with their axes by letters."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.arguments import Operands, Options
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.score import Score
from attention_jax.masks import Mask
from attention_jax.statistics import COLUMN_SUM
from attention_jax.types import Array, Bool, Float, Int


class Block(NamedTuple):
    """The arrays of t queries and S keys; leading axes not yet broadcast.

    Attributes:
      params: the score's parameters.
      extras: what else the score takes, numbers.
      keys: the leaves of the score's prepared keys, [S, ...] each.
      row_indices: the rows' numbers in the whole call; dropout is drawn from them, so that it
        does not depend on how rows are grouped into blocks.
      dropout_rng: None without dropout.
      valid: which rows are not padding and count in sums over rows; None if none are asked
        for.
    """

    params: dict[str, Array]
    extras: dict[str, Any]
    query: Float[Array, "... t Q"]
    keys: list[Array]
    values: Float[Array, "... S V"]
    query_positions: Int[Array, "... t"]
    key_positions: Int[Array, "... S"]
    row_indices: Int[Array, "... t"]
    mask: Mask | None
    bias: Float[Array, "... #t #S"] | None
    dropout_rng: Array | None
    valid: Bool[Array, "t"] | None = None

    def slice_queries(
        self, axes: "Block", take: Callable[[Array, int], Array]
    ) -> "Block":
        """The block of the queries that `take(array, axis)` takes along their axis."""
        num_queries = self.query.shape[-2]

        def taken(array: Array, letters: str) -> Array:
            if "T" not in letters:
                return array
            axis = letters.index("T") - len(letters)
            return array if array.shape[axis] != num_queries else take(array, axis)

        return jax.tree.map(taken, self, axes)

    def slice_keys(self, axes: "Block", start: Int[Array, ""], width: int) -> "Block":
        """The block of `width` keys from `start` on."""

        def taken(array: Array, letters: str) -> Array:
            if "S" not in letters:
                return array
            axis = letters.index("S") - len(letters)
            if array.shape[axis] == 1:
                return array
            return jax.lax.dynamic_slice_in_dim(array, start, width, axis)

        mask = self.mask
        some = jax.tree.map(taken, self._replace(mask=None), axes._replace(mask=None))
        return some._replace(
            mask=None if mask is None else mask.keys_from(start, width)
        )


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
        "params": {name: "." * ndim for name, ndim in score.param_ndims.items()},
        "mask": mask,
        "query_positions": "T",
        "key_positions": "S",
        "dropout_rng": None if operands.dropout_rng is None else "",
        "bias": None if operands.bias is None else "TS",
        "extras": jax.tree.map(lambda _: "", operands.extras),
    }
    return dataclasses.replace(operands, **own)


def make_block(
    operands: Operands, options: Options, row_indices: Array
) -> tuple[Block, Block, Any]:
    """The block of a whole call, each array's axes, and how its keys are put together.

    The axes are letters, T for queries and S for keys; as many as the array has without
    leading axes. Keys are put together by `jax.tree.unflatten(tree, block.keys)`.
    """
    operands = operands.prepared(options.score)
    sums = COLUMN_SUM in options.statistics
    valid = jnp.ones(operands.num_queries, bool) if sums else None

    def block(operands: Any, row_indices: Any, valid: Any) -> Block:
        return Block(
            operands.params,
            operands.extras,
            operands.query,
            jax.tree.leaves(operands.keys.arrays),
            operands.values,
            operands.query_positions,
            operands.key_positions,
            row_indices,
            operands.mask,
            operands.bias,
            operands.dropout_rng,
            valid,
        )

    axes = block(operand_axes(operands, options.score), "T", "T" if sums else None)
    assert isinstance(operands.keys, PreparedKeys)
    tree = jax.tree.structure(operands.keys.arrays)
    return block(operands, row_indices, valid), axes, tree


def core_ndims(axes: Block) -> Any:
    """The number of each array's own axes, as `map_leading` takes them."""
    return jax.tree.map(len, axes)


def row_numbers(leading: tuple[int, ...], num_queries: int) -> Int[Array, "... T"]:
    """A number for every query of the call."""
    shape = (*leading, num_queries)
    return jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
