"""The chunked kernel: a block of whole rows at a time, in memory linear in S.

A block holds every key of its queries, so nothing is merged across keys and the result is
exact for any score and any normaliser. Each block is rematerialised in the backward pass
(`jax.checkpoint`), which therefore keeps one block's scores, not T of them; derivatives
of any order and mode come from JAX.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.batching import map_leading
from attention_jax.checks import compute_dtype
from attention_jax.kernels.block_size import prepared_keys, rows_per_block
from attention_jax.kernels.masking import mask_leading, mask_rows, silence_unused
from attention_jax.kernels.operands import Operands, Options
from attention_jax.kernels.reference import row_numbers
from attention_jax.kernels.rows import Rows, attend_rows
from attention_jax.masks import Mask
from attention_jax.normalizers import PER_ROW
from attention_jax.types import Array, Bool

# What one block's largest intermediate may take: large enough for matmuls to be worth
# their call, small enough to stay near the cache.
BLOCK_BYTES = 4 * 2**20


def attend_chunked(operands: Operands, options: Options) -> Rows:
    """Loops over sequences and blocks of queries.

    Cost: the reference's FLOPs, twice the scores' in a backward pass; temporaries of
    about `BLOCK_BYTES`, or chunk_size × S × (what the score needs per query and key), for
    any T.
    """
    dtype = compute_dtype(operands.query)
    mask = operands.mask
    if mask is not None:
        rows = max(1, BLOCK_BYTES // max(1, operands.num_keys))
        operands = silence_unused(operands, used_by_blocks(operands, rows))
    params = {name: value.astype(dtype) for name, value in operands.params.items()}
    prepared = prepared_keys(operands, options, dtype)
    leaves, tree = jax.tree.flatten(prepared.arrays)
    mask_leaves, mask_tree = jax.tree.flatten(mask)
    mask_cores = [] if mask is None else [len(axes) for axes in mask.leaf_axes()]

    block = options.chunk_size or rows_per_block(operands, options, BLOCK_BYTES)

    def one_sequence(*arrays: Array) -> Rows:
        query, values, query_positions, key_positions, numbers, *rest = arrays
        prepared = jax.tree.unflatten(tree, rest[: len(leaves)])
        mask = jax.tree.unflatten(mask_tree, rest[len(leaves) :])

        def rows(query, query_positions, numbers, mask, valid):
            where = (
                None
                if mask is None
                else mask_rows(mask, query_positions, key_positions)
            )
            return attend_rows(
                options,
                params,
                query,
                prepared,
                values,
                where,
                query_positions,
                key_positions,
                numbers,
                operands.dropout_rng,
                valid,
            )

        return over_blocks(rows, block, query, query_positions, numbers, mask)

    return map_leading(
        one_sequence,
        operands.leading,
        [
            operands.query.astype(dtype),
            operands.values.astype(dtype),
            operands.query_positions,
            operands.key_positions,
            row_numbers(operands.leading, operands.num_queries),
            *leaves,
            *mask_leaves,
        ],
        [2, 2, 1, 1, 1, *prepared.core_ndims, *mask_cores],
        mapper=loop,
    )


# In the backward pass a block's scores are computed again; of each row, its context and one
# or two numbers are kept.
rematerialized = functools.partial(
    jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names(PER_ROW)
)


def loop(
    function: Callable, in_axes: tuple, axis_size: int, arrays: list[Array]
) -> Any:
    """`vmap`'s contract as a sequential loop: one sequence's work at a time."""
    if axis_size == 0:
        return jax.vmap(function, in_axes=in_axes, axis_size=0)(*arrays)
    mapped = [a for a, axis in zip(arrays, in_axes, strict=True) if axis == 0]

    def one(slices: list[Array]) -> Any:
        remaining = iter(slices)
        return function(
            *(
                next(remaining) if axis == 0 else a
                for a, axis in zip(arrays, in_axes, strict=True)
            )
        )

    if axis_size == 1:
        result = one([a[0] for a in mapped])
        return jax.tree.map(lambda x: x[None], result)
    return jax.lax.map(one, mapped) if mapped else _repeat(one([]), axis_size)


def _repeat(result: Any, times: int) -> Any:
    return jax.tree.map(lambda x: jnp.broadcast_to(x[None], (times, *x.shape)), result)


def over_blocks(
    rows: Callable[..., Rows],
    block: int,
    query: Array,
    query_positions: Array,
    numbers: Array,
    mask: Mask | None,
) -> Rows:
    """`rows` on blocks of at most `block` queries, joined; one block is not looped."""
    num_queries = query.shape[0]
    blocks = max(1, math.ceil(num_queries / block))
    if blocks == 1:
        # Rematerialised too: the loop over sequences would keep every sequence's scores.
        return rematerialized(rows)(query, query_positions, numbers, mask, None)
    # Blocks of equal size with as little filling as possible.
    block = math.ceil(num_queries / blocks)
    padded = blocks * block
    valid = jnp.arange(padded) < num_queries if padded != num_queries else None
    split = functools.partial(_split, blocks=blocks, block=block)
    leaves, tree = jax.tree.flatten(mask)
    axes = () if mask is None else mask.leaf_axes()
    per_block = [
        name.startswith("T") and leaf.shape[0] == num_queries
        for name, leaf in zip(axes, leaves, strict=True)
    ]

    @rematerialized
    def one_block(slices: tuple) -> Rows:
        query, query_positions, numbers, valid, sliced = slices
        remaining = iter(sliced)
        whole = [
            next(remaining) if per else leaf
            for per, leaf in zip(per_block, leaves, strict=True)
        ]
        mask = jax.tree.unflatten(tree, whole)
        return rows(query, query_positions, numbers, mask, valid)

    def step(column_sum: Array | None, slices: tuple) -> tuple[Array | None, Rows]:
        result = one_block(slices)
        if result.column_sum is not None:
            column_sum = column_sum + result.column_sum
        return column_sum, result._replace(column_sum=None)

    slices = (
        split(query),
        split(query_positions),
        split(numbers),
        None if valid is None else valid.reshape(blocks, block),
        [split(leaf) for per, leaf in zip(per_block, leaves, strict=True) if per],
    )
    shape = jax.eval_shape(one_block, jax.tree.map(lambda x: x[0], slices)).column_sum
    start = None if shape is None else jnp.zeros(shape.shape, shape.dtype)
    column_sum, stacked = jax.lax.scan(step, start, slices)
    joined = jax.tree.map(
        lambda x: x.reshape(padded, *x.shape[2:])[:num_queries], stacked
    )
    return joined._replace(column_sum=column_sum)


def _split(array: Array, *, blocks: int, block: int) -> Array:
    """[T, ...] -> [blocks, block, ...], filled with zeros."""
    filling = blocks * block - array.shape[0]
    widths = [(0, filling)] + [(0, 0)] * (array.ndim - 1)
    padded = jnp.pad(array, widths) if filling else array
    return padded.reshape(blocks, block, *array.shape[1:])


def used_by_blocks(operands: Operands, block: int) -> Bool[Array, "... S"]:
    """Which keys some query attends to, over the mask's leading axes: never [T, S]."""
    mask = operands.mask
    assert mask is not None
    leaves, tree = jax.tree.flatten(mask)
    num_queries = operands.num_queries

    def one_sequence(*arrays: Array) -> Array:
        *leaves, query_positions, key_positions = arrays
        mask = jax.tree.unflatten(tree, leaves)
        if num_queries <= block:
            return jnp.any(mask_rows(mask, query_positions, key_positions), axis=0)

        def some(used: Array, start: Array) -> tuple[Array, None]:
            # The last block is moved back into range; looking twice changes no `any`.
            start = jnp.minimum(start, num_queries - block)

            def rows(array: Array) -> Array:
                return jax.lax.dynamic_slice_in_dim(array, start, block)

            sliced = [
                rows(leaf)
                if axes.startswith("T") and leaf.shape[0] == num_queries
                else leaf
                for leaf, axes in zip(leaves, mask.leaf_axes(), strict=True)
            ]
            where = mask_rows(
                jax.tree.unflatten(tree, sliced), rows(query_positions), key_positions
            )
            return used | jnp.any(where, axis=0), None

        starts = jnp.arange(0, num_queries, block)
        start = jnp.zeros(key_positions.shape, bool)
        return jax.lax.scan(some, start, starts)[0]

    return map_leading(
        one_sequence,
        mask_leading(mask, operands.query_positions, operands.key_positions),
        [*leaves, operands.query_positions, operands.key_positions],
        [*(len(axes) for axes in mask.leaf_axes()), 1, 1],
    )
