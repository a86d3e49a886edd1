"""The chunked kernel: a block of whole rows at a time, in memory linear in S.

A block holds every key of its queries, so nothing is merged across keys and the result is
exact for any score and any normaliser. Each block is rematerialised in the backward pass
(`jax.checkpoint`), which therefore keeps one block's scores, not T of them; derivatives
of any order and mode come from JAX.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.checks import compute_dtype
from attention_jax.functions.batching import map_leading
from attention_jax.kernels.block_sparsity import (
    on_needed_keys,
    over_all_keys,
    used_keys,
    widths,
)
from attention_jax.kernels.cost_model import (
    ROWS_OF_SCORES,
    prepared_keys,
    rows_per_block,
)
from attention_jax.kernels.masking import mask_rows, silence_unused
from attention_jax.kernels.operands import Operands, Options
from attention_jax.kernels.reference import row_numbers
from attention_jax.kernels.rows import Rows, attend_rows, divided
from attention_jax.masks import Mask
from attention_jax.types import Array, Bool, Float, Int


def attend_chunked(operands: Operands, options: Options) -> Rows:
    """Loops over sequences and blocks of queries.

    Cost: the reference's FLOPs, twice the scores' in a backward pass; temporaries of
    about the queries of a block (`rows_per_block` or `chunk_size`) times S times what the
    score needs per query and key, for any T.
    """
    dtype = compute_dtype(operands.query)
    mask, num_keys = operands.mask, operands.num_keys
    block, blocks = queries_per_block(operands, options)
    ranges = jnp.zeros((blocks, 2), jnp.int32)
    if mask is not None:
        used, ranges = used_keys(operands, blocks, block)
        operands = silence_unused(operands, used)
    params = {name: value.astype(dtype) for name, value in operands.params.items()}
    prepared = prepared_keys(operands, options, dtype)
    leaves, tree = jax.tree.flatten(prepared.arrays)
    mask_leaves, mask_tree = jax.tree.flatten(mask)
    mask_cores = [] if mask is None else [len(axes) for axes in mask.leaf_axes()]

    def one_sequence(*arrays: Array) -> Rows:
        query, values, query_positions, key_positions, numbers, ranges, *rest = arrays
        prepared = rest[: len(leaves)]
        mask = jax.tree.unflatten(mask_tree, rest[len(leaves) :])

        def rows(query, query_positions, numbers, key_range, mask, valid):
            block = Block(
                params,
                query,
                prepared,
                values,
                query_positions,
                key_positions,
                numbers,
                mask,
                operands.dropout_rng,
                valid,
            )
            attend = functools.partial(attend_block, options, tree)
            # Dropout is drawn for whole rows.
            drops = operands.dropout_rng is not None
            if mask is None or drops or len(widths(num_keys)) == 1:
                return attend(block)
            return attend_needed(attend, block, key_range, num_keys)

        joined = over_blocks(
            rows, blocks, block, query, query_positions, numbers, ranges, mask
        )
        return divided(joined)

    return map_leading(
        one_sequence,
        operands.leading,
        [
            operands.query.astype(dtype),
            operands.values.astype(dtype),
            operands.query_positions,
            operands.key_positions,
            row_numbers(operands.leading, operands.num_queries),
            ranges,
            *leaves,
            *mask_leaves,
        ],
        [2, 2, 1, 1, 1, 2, *prepared.core_ndims, *mask_cores],
        mapper=loop,
    )


def queries_per_block(operands: Operands, options: Options) -> tuple[int, int]:
    """The number of queries a block has, and of blocks a sequence has."""
    chunk = options.chunk_size or rows_per_block(operands, options)
    if operands.mask is not None and options.chunk_size is None:
        # One block that holds every query needs every key that any of them attends to.
        half = math.ceil(operands.num_queries / 2)
        chunk = min(chunk, max(ROWS_OF_SCORES, half))
    # Blocks of equal size with as little filling as possible.
    blocks = max(1, math.ceil(operands.num_queries / chunk))
    return math.ceil(operands.num_queries / blocks), blocks


class Block(NamedTuple):
    """The arrays of one block of queries, of one sequence.

    Attributes:
      prepared: the leaves of the score's prepared keys, [S, ...] each.
      numbers: of the rows, in the whole call.
      valid: which rows are no filling, or None for all.
    """

    params: dict[str, Array]
    query: Float[Array, "t Q"]
    prepared: list[Array]
    values: Float[Array, "S V"]
    query_positions: Int[Array, "t"]
    key_positions: Int[Array, "S"]
    numbers: Int[Array, "t"]
    mask: Mask | None
    dropout_rng: Array | None
    valid: Bool[Array, "t"] | None


def attend_block(options: Options, tree: Any, block: Block) -> Rows:
    """`attend_rows` on the block, whose mask has no leading axes."""
    where = None
    if block.mask is not None:
        where = mask_rows(block.mask, block.query_positions, block.key_positions)
    return attend_rows(
        options,
        block.params,
        block.query,
        jax.tree.unflatten(tree, block.prepared),
        block.values,
        where,
        block.query_positions,
        block.key_positions,
        block.numbers,
        block.dropout_rng,
        block.valid,
    )


def attend_needed(
    attend: Callable[[Block], Rows],
    block: Block,
    key_range: Int[Array, "2"],
    num_keys: int,
) -> Rows:
    """`attend(block)`, computed on the keys that the block attends to and not many more.

    So are derivatives: within each width the block is rematerialised, since differentiating
    a choice between widths keeps what every one of them would keep, as zeros where it was
    not taken; rematerialised, that is the block's own arrays, the same for all.
    """

    def on_some(block: Block, start: Array, width: int) -> Rows:
        def keys(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, width)

        assert block.mask is not None
        some = block._replace(
            prepared=[keys(leaf) for leaf in block.prepared],
            values=keys(block.values),
            key_positions=keys(block.key_positions),
            mask=block.mask.keys_from(start, width),
        )
        return over_all_keys(attend(some), start, num_keys)

    def narrow(block: Block, key_range: Array) -> Rows:
        attend = functools.partial(on_some, block)
        return on_needed_keys(attend, key_range, num_keys)

    def derivative(primals: tuple, tangents: tuple) -> tuple[Rows, Rows]:
        (block, key_range), (block_dot, _) = primals, tangents

        def tangent(start: Array, width: int) -> Rows:
            @jax.checkpoint
            def push_forward(block: Block, block_dot: Block, start: Array) -> Rows:
                attend = functools.partial(on_some, start=start, width=width)
                return jax.jvp(attend, (block,), (block_dot,))[1]

            return push_forward(block, block_dot, start)

        # Not `narrow`: derivatives of derivatives are to come here again.
        return needed(block, key_range), on_needed_keys(tangent, key_range, num_keys)

    needed = jax.custom_jvp(narrow)
    needed.defjvp(derivative)
    return needed(block, key_range)


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
    rows: Callable[..., Rows],
    blocks: int,
    block: int,
    query: Array,
    query_positions: Array,
    numbers: Array,
    ranges: Array,
    mask: Mask | None,
) -> Rows:
    """`rows` on each block of `block` queries, joined; one block is not looped."""
    num_queries = query.shape[0]
    if blocks == 1:
        # Rematerialised too: the loop over sequences would keep every sequence's scores.
        return jax.checkpoint(rows)(
            query, query_positions, numbers, ranges[0], mask, None
        )
    padded = blocks * block
    valid = jnp.arange(padded) < num_queries if padded != num_queries else None
    split = functools.partial(_split, blocks=blocks, block=block)
    leaves, tree = jax.tree.flatten(mask)
    per_block = () if mask is None else mask.by_query(num_queries)

    @jax.checkpoint
    def one_block(slices: tuple) -> Rows:
        query, query_positions, numbers, key_range, valid, sliced = slices
        remaining = iter(sliced)
        whole = [
            next(remaining) if per else leaf
            for per, leaf in zip(per_block, leaves, strict=True)
        ]
        mask = jax.tree.unflatten(tree, whole)
        return rows(query, query_positions, numbers, key_range, mask, valid)

    def step(column_sum: Array | None, slices: tuple) -> tuple[Array | None, Rows]:
        result = one_block(slices)
        if result.column_sum is not None:
            column_sum = column_sum + result.column_sum
        return column_sum, result._replace(column_sum=None)

    slices = (
        split(query),
        split(query_positions),
        split(numbers),
        ranges,
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
    """[T, ...] -> [blocks, block, ...], filled with the last row.

    A real row, since a score may have no derivative at a query of zeros.
    """
    filling = blocks * block - array.shape[0]
    ends = [(0, filling)] + [(0, 0)] * (array.ndim - 1)
    padded = jnp.pad(array, ends, mode="edge") if filling else array
    return padded.reshape(blocks, block, *array.shape[1:])
