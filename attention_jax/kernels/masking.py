"""From a mask to the booleans a kernel needs, built for no more axes than it has."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.arguments import Operands
from attention_jax.functions.batching import map_leading
from attention_jax.functions.prepared import PreparedKeys, zero_where_not
from attention_jax.masks import Mask
from attention_jax.types import Array, Bool, Int


def over_sequences(
    function: Callable[[Mask, Array, Array], Any],
    mask: Mask,
    query_positions: Int[Array, "... T"],
    key_positions: Int[Array, "... S"],
) -> Any:
    """`function` of the three over the leading axes that they vary over, and no others."""
    arguments = [mask, query_positions, key_positions]
    cores = [*(len(axes) for axes in mask.leaf_axes()), 1, 1]
    leaves, tree = jax.tree.flatten(arguments)
    pairs = zip(leaves, cores, strict=True)
    leading = jnp.broadcast_shapes(*(x.shape[: x.ndim - core] for x, core in pairs))
    return map_leading(function, leading, arguments, tree.unflatten(cores))


def dense_mask(
    mask: Mask, query_positions: Int[Array, "... T"], key_positions: Int[Array, "... S"]
) -> Bool[Array, "... T S"]:
    """The mask as an array, with the leading axes it varies over and no others."""
    return over_sequences(mask_rows, mask, query_positions, key_positions)


def mask_rows(
    mask: Mask, query_positions: Int[Array, "t"], key_positions: Int[Array, "S"]
) -> Bool[Array, "t S"]:
    """The rows of a mask whose leaves have no leading axes, for t queries."""
    leaves, tree = jax.tree.flatten(mask)
    by_query = mask.by_query(query_positions.shape[0])
    in_axes = [0 if by else None for by in by_query]
    sliced = [
        leaf[0] if axes.startswith("T") and not by else leaf
        for leaf, axes, by in zip(leaves, mask.leaf_axes(), by_query, strict=True)
    ]

    def one(leaves: list[Array], query_position: Array) -> Array:
        row = jax.tree.unflatten(tree, leaves).row(query_position, key_positions)
        return jnp.broadcast_to(row, key_positions.shape)

    return jax.vmap(one, in_axes=(in_axes, 0))(sliced, query_positions)


def zero_unused(operands: Operands, used: Bool[Array, "... S"]) -> Operands:
    """The operands with keys and values that no query attends to replaced by zeros."""
    keys, values = operands.keys, operands.values
    used_keys = _shared_along(used, operands.key_leading)
    if isinstance(keys, PreparedKeys):
        keys = keys.zero_where_not(used_keys)
    else:
        keys = zero_where_not(keys, used_keys, 2)
    values = zero_where_not(values, _shared_along(used, values.shape[:-2]), 2)
    return dataclasses.replace(operands, keys=keys, values=values)


def _shared_along(used: Array, leading: tuple[int, ...]) -> Array:
    """`used` over the leading axes of an array: one shared by all is used if by any."""
    extra = used.ndim - 1 - len(leading)
    if extra > 0:
        used = jnp.any(used, axis=tuple(range(extra)))
    offset = len(leading) - (used.ndim - 1)
    shared = tuple(
        axis
        for axis in range(used.ndim - 1)
        if leading[offset + axis] == 1 and used.shape[axis] != 1
    )
    return jnp.any(used, axis=shared, keepdims=True) if shared else used
