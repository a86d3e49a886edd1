"""The chunked kernel: a block of whole rows at a time, in memory linear in S.

A block holds every key of its queries, so nothing is merged across keys and the result is
exact for any score and any normaliser. Each block is rematerialised in the backward pass
(`jax.checkpoint`), which therefore keeps one block's scores, not T of them; derivatives
of any order and mode come from JAX.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.arguments import Operands, Options
from attention_jax.functions.batching import map_leading
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.kernels.block_sparsity import (
    on_needed_keys,
    over_all_keys,
    used_keys,
    widths,
)
from attention_jax.kernels.cost_model import queries_per_block
from attention_jax.kernels.masking import mask_rows, zero_unused
from attention_jax.kernels.reference import Block, Rows, attend_rows, row_numbers
from attention_jax.masks import Mask
from attention_jax.types import Array, Int


def attend_chunked(operands: Operands, options: Options) -> Rows:
    """Loops over sequences and blocks of queries.

    Cost: the reference's FLOPs, twice the scores' in a backward pass; temporaries of
    about the queries of a block (`rows_per_block` or `chunk_size`) times S times what the
    score needs per query and key, for any T.
    """
    mask, num_keys = operands.mask, operands.num_keys
    size, blocks = queries_per_block(operands, options)
    ranges = jnp.zeros((blocks, 2), jnp.int32)
    if mask is not None:
        used, ranges = used_keys(operands, blocks, size)
        operands = zero_unused(operands, used)
    operands = operands.prepared(options.score)
    assert isinstance(operands.keys, PreparedKeys)
    leaves, tree = jax.tree.flatten(operands.keys.arrays)
    mask_leaves, mask_tree = jax.tree.flatten(mask)
    mask_cores = [] if mask is None else [len(axes) for axes in mask.leaf_axes()]
    rng = operands.dropout_rng
    # Dropout is drawn for whole rows.
    skips_keys = rng is None and len(widths(num_keys)) > 1

    def attend(block: Block, mask: Mask | None) -> Rows:
        where = None
        if mask is not None:
            where = mask_rows(mask, block.query_positions, block.key_positions)
        return attend_rows(options, tree, block, where)

    def one_sequence(*arrays: Array) -> Rows:
        query, values, query_positions, key_positions, row_indices, ranges, *rest = (
            arrays
        )
        mask = jax.tree.unflatten(mask_tree, rest[len(leaves) :])
        sequence = Block(
            operands.params,
            query,
            rest[: len(leaves)],
            values,
            query_positions,
            key_positions,
            row_indices,
            rng,
        )

        def rows(block: Block, mask: Mask | None, key_range: Array) -> Rows:
            if skips_keys and mask is not None:
                return attend_needed(attend, block, mask, key_range)
            return attend(block, mask)

        return over_blocks(rows, sequence, mask, ranges, size).divided()

    return map_leading(
        one_sequence,
        operands.leading,
        [
            operands.query,
            operands.values,
            operands.query_positions,
            operands.key_positions,
            row_numbers(operands.leading, operands.num_queries),
            ranges,
            *leaves,
            *mask_leaves,
        ],
        [2, 2, 1, 1, 1, 2, *operands.keys.core_ndims, *mask_cores],
        mapper=loop,
    )


def attend_needed(
    attend: Callable[[Block, Mask], Rows],
    block: Block,
    mask: Mask,
    key_range: Int[Array, "2"],
) -> Rows:
    """`attend(block, mask)` on the keys that the block attends to and not many more.

    So are derivatives: within each width the block is rematerialised, since differentiating
    a choice between widths keeps what every one of them would keep, as zeros where it was
    not taken; rematerialised, that is the block's own arrays, the same for all.
    """
    num_keys = block.values.shape[0]

    def on_some(block: Block, mask: Mask, start: Array, width: int) -> Rows:
        def keys(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, width)

        some = block._replace(
            keys=[keys(leaf) for leaf in block.keys],
            values=keys(block.values),
            key_positions=keys(block.key_positions),
        )
        rows = attend(some, mask.keys_from(start, width))
        return over_all_keys(rows, start, num_keys)

    def narrow(block: Block, mask: Mask, key_range: Array) -> Rows:
        attend = functools.partial(on_some, block, mask)
        return on_needed_keys(attend, key_range, num_keys)

    def derivative(primals: tuple, tangents: tuple) -> tuple[Rows, Rows]:
        *operands, key_range = primals
        *operands_dot, _ = tangents

        def tangent(start: Array, width: int) -> Rows:
            @jax.checkpoint
            def push_forward(operands: list, operands_dot: list, start: Array) -> Rows:
                attend = functools.partial(on_some, start=start, width=width)
                return jax.jvp(attend, operands, operands_dot)[1]

            return push_forward(operands, operands_dot, start)

        # Not `narrow`: derivatives of derivatives are to come here again.
        return needed(*primals), on_needed_keys(tangent, key_range, num_keys)

    needed = jax.custom_jvp(narrow)
    needed.defjvp(derivative)
    return needed(block, mask, key_range)


def loop(
    function: Callable, in_axes: tuple, axis_size: int, arrays: list[Array]
) -> Any:
    """`vmap`'s contract as a sequential loop: one sequence's work at a time."""
    if axis_size == 0:
        return jax.vmap(function, in_axes=in_axes, axis_size=0)(*arrays)
    mapped = [a for a, axis in zip(arrays, in_axes, strict=True) if axis == 0]
    shared = [a for a, axis in zip(arrays, in_axes, strict=True) if axis is None]

    def one(slices: list[Array], shared: list[Array]) -> Any:
        mapped, whole = iter(slices), iter(shared)
        return function(*(next(whole if axis is None else mapped) for axis in in_axes))

    if axis_size == 1:
        result = one([a[0] for a in mapped], shared)
        return jax.tree.map(lambda x: x[None], result)
    if not mapped:
        return _repeat(one([], shared), axis_size)

    def step(arguments: tuple[Array, list[Array]]) -> Any:
        # Differentiating a scan, JAX moves what is the same in every step out of it, and
        # would so keep a mask's [T, S] booleans; tied to the step it stays.
        index, slices = arguments
        return one(slices, jax.lax.optimization_barrier((index, shared))[1])

    return jax.lax.map(step, (jnp.arange(axis_size), mapped))


def _repeat(result: Any, times: int) -> Any:
    return jax.tree.map(lambda x: jnp.broadcast_to(x[None], (times, *x.shape)), result)


def over_blocks(
    rows: Callable[[Block, Mask | None, Array], Rows],
    sequence: Block,
    mask: Mask | None,
    ranges: Int[Array, "blocks 2"],
    size: int,
) -> Rows:
    """`rows` of each block of `size` queries of a sequence, joined; one block is not looped."""
    num_queries, blocks = sequence.query.shape[0], ranges.shape[0]
    if blocks == 1:
        # Rematerialised too: the loop over sequences would keep every sequence's scores.
        return jax.checkpoint(rows)(sequence, mask, ranges[0])
    padded = blocks * size
    valid = jnp.arange(padded) < num_queries if padded != num_queries else None
    leaves, tree = jax.tree.flatten(mask)
    by_query = () if mask is None else mask.by_query(num_queries)

    def split(array: Array) -> Array:
        return _split(array, blocks=blocks, block=size)

    @jax.checkpoint
    def one_block(slices: tuple) -> Rows:
        query, query_positions, row_indices, key_range, valid, sliced = slices
        remaining = iter(sliced)
        whole = [
            next(remaining) if by else leaf
            for by, leaf in zip(by_query, leaves, strict=True)
        ]
        block = sequence._replace(
            query=query,
            query_positions=query_positions,
            row_indices=row_indices,
            valid=valid,
        )
        return rows(block, jax.tree.unflatten(tree, whole), key_range)

    def step(column_sum: Array | None, slices: tuple) -> tuple[Array | None, Rows]:
        result = one_block(slices)
        if result.column_sum is not None:
            column_sum = column_sum + result.column_sum
        return column_sum, result._replace(column_sum=None)

    slices = (
        split(sequence.query),
        split(sequence.query_positions),
        split(sequence.row_indices),
        ranges,
        None if valid is None else valid.reshape(blocks, size),
        [split(leaf) for by, leaf in zip(by_query, leaves, strict=True) if by],
    )
    shape = jax.eval_shape(one_block, jax.tree.map(lambda x: x[0], slices)).column_sum
    start = None if shape is None else jnp.zeros(shape.shape, shape.dtype)
    column_sum, stacked = jax.lax.scan(step, start, slices)
    joined = jax.tree.map(
        lambda x: x.reshape(padded, *x.shape[2:])[:num_queries], stacked
    )
    return joined._replace(column_sum=column_sum)


def _split(array: Array, *, blocks: int, block: int) -> Array:
    """[T, ...] -> [blocks, block, ...], padded with the last row.

    A real row, since a score may have no derivative at a query of zeros.
    """
    padding = blocks * block - array.shape[0]
    ends = [(0, padding)] + [(0, 0)] * (array.ndim - 1)
    padded = jnp.pad(array, ends, mode="edge") if padding else array
    return padded.reshape(blocks, block, *array.shape[1:])
