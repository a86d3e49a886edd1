"""From a mask to the booleans a kernel needs, built for no more axes than it has."""

import dataclasses

import jax
import jax.numpy as jnp

from attention_jax.arguments import Operands
from attention_jax.functions.batching import map_leading
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.masks import Mask
from attention_jax.types import Array, Bool, Int


def mask_leading(
    mask: Mask, query_positions: Array, key_positions: Array
) -> tuple[int, ...]:
    """The leading axes that a mask varies over."""
    leaves = zip(jax.tree.leaves(mask), mask.leaf_axes(), strict=True)
    return jnp.broadcast_shapes(
        *(leaf.shape[: leaf.ndim - len(axes)] for leaf, axes in leaves),
        query_positions.shape[:-1],
        key_positions.shape[:-1],
    )


def dense_mask(
    mask: Mask, query_positions: Int[Array, "... T"], key_positions: Int[Array, "... S"]
) -> Bool[Array, "... T S"]:
    """The mask as an array, with the leading axes it varies over and no others."""
    leaves, tree = jax.tree.flatten(mask)
    axes = mask.leaf_axes()

    def one_sequence(*arrays: Array) -> Array:
        *leaves, query_positions, key_positions = arrays
        return mask_rows(
            jax.tree.unflatten(tree, leaves), query_positions, key_positions
        )

    return map_leading(
        one_sequence,
        mask_leading(mask, query_positions, key_positions),
        [*leaves, query_positions, key_positions],
        [*(len(a) for a in axes), 1, 1],
    )


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
        keys = _zero_where_not(keys, used_keys)
    values = _zero_where_not(values, _shared_along(used, values.shape[:-2]))
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


def _zero_where_not(array: Array, used: Array) -> Array:
    shape = jnp.broadcast_shapes((*used.shape, 1), array.shape)
    expanded = jnp.broadcast_to(used[..., None], shape)
    return jnp.where(expanded, jnp.broadcast_to(array, shape), 0)
