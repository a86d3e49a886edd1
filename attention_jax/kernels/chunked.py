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

from attention_jax.arguments import Operands, Options
from attention_jax.functions.batching import like, map_leading
from attention_jax.kernels.block_sparsity import (
    on_needed_keys,
    over_all_keys,
    used_keys,
    widths,
)
from attention_jax.kernels.cost_model import auto_mesh, is_symbolic, plan_blocks
from attention_jax.kernels.masking import zero_unused
from attention_jax.kernels.reference import (
    Rows,
    attend_reference,
    attend_rows,
    core_ndims,
    make_block,
    take_keys,
    take_queries,
)
from attention_jax.types import Array, Int


def attend_chunked(operands: Operands, options: Options) -> Rows:
    """Loops over blocks of queries, and over sequences or groups of them.

    Cost: the reference's FLOPs, twice the scores' in a backward pass; temporaries of
    about the queries of a block (`plan_blocks` or `chunk_size`) times S times what the
    score needs per query and key, for any T.
    """
    leading = operands.leading(options.score)
    if is_symbolic(operands) or 0 in leading:
        # Blocks are planned by sizes, and of no sequences there is nothing to loop over.
        return attend_reference(operands, options)
    num_keys = operands.num_keys
    plan = plan_blocks(operands, options)
    outer, inner = group_leading(leading, plan.sequences)
    key_ranges = None
    if operands.mask is not None:
        used, ranges = used_keys(operands, plan.blocks, plan.queries)
        operands = zero_unused(operands, used)
        if (
            options.score.block_sparse
            and options.normalizer.block_sparse
            # Dropout is drawn for whole rows.
            and operands.dropout_rng is None
            and len(widths(num_keys)) > 1
            # One block of all queries needs about as many keys, and a choice costs time.
            and (plan.blocks > 1 or operands.num_queries < num_keys)
            # The devices need not agree on the keys that any of them needs.
            and not (ranges.ndim > 2 and auto_mesh(operands) is not None)
        ):
            key_ranges = _ranges_of_groups(ranges, leading, outer, inner)
    block, axes = make_block(operands, options, leading)
    block = jax.tree.map(
        lambda x, letters: _regroup(x, len(letters), leading, outer, inner), block, axes
    )

    def attend(block: Operands) -> Rows:
        one_sequence = functools.partial(attend_rows, options)
        # Again here: JAX traces custom derivatives when the call is over.
        with options.default_precision():
            return map_leading(one_sequence, inner, [block], [core_ndims(axes)])

    def rows(block: Operands, key_range: Array | None) -> Rows:
        if key_range is None:
            return attend(block)
        return attend_needed(attend, block, axes, key_range)

    def one_group(block: Operands, key_ranges: Array | None) -> Rows:
        return over_blocks(rows, block, axes, key_ranges, plan.queries, inner).divided()

    # What is left of the leading axes inside a group belongs to its arrays.
    cores = jax.tree.map(
        lambda x, letters: min(x.ndim, len(letters) + len(inner)), block, axes
    )
    found = map_leading(
        one_group,
        outer,
        [block, key_ranges],
        [cores, None if key_ranges is None else 2],
        mapper=loop,
    )
    depth = len(outer) + len(inner)
    return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[depth:]), found)


def group_leading(
    leading: tuple[int, ...], sequences: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The leading axes to loop over, and those to compute at once: `sequences` or fewer.

    The last axes are computed at once; of the first that is too long, a divisor is.
    """
    outer, inner = list(leading), []
    while outer and sequences > 1:
        size = outer.pop()
        divisors = (d for d in range(1, min(size, sequences) + 1) if size % d == 0)
        part = max(divisors, default=1)
        inner.insert(0, part)
        if part != size:
            outer.append(size // part)
            break
        sequences //= part
    return tuple(outer), tuple(inner)


def _regroup(
    array: Array,
    core: int,
    leading: tuple[int, ...],
    outer: tuple[int, ...],
    inner: tuple[int, ...],
) -> Array:
    """The array with the one leading axis that is split between the groups in two."""
    if len(outer) + len(inner) == len(leading):
        return array
    axis = array.ndim - core - len(inner)
    if axis < 0:
        return array
    parts = (1, 1) if array.shape[axis] == 1 else (outer[-1], inner[0])
    return array.reshape(*array.shape[:axis], *parts, *array.shape[axis + 1 :])


def _ranges_of_groups(
    ranges: Int[Array, "... blocks 2"],
    leading: tuple[int, ...],
    outer: tuple[int, ...],
    inner: tuple[int, ...],
) -> Int[Array, "... blocks 2"]:
    """From the first key that a group attends to, to the last."""
    ranges = _regroup(ranges, 2, leading, outer, inner)
    axes = tuple(range(max(0, ranges.ndim - 2 - len(inner)), ranges.ndim - 2))
    if not axes:
        return ranges
    first, last = ranges[..., 0], ranges[..., 1]
    # 0, 0 stands for no key and is not the first.
    some = last > 0
    first = jnp.min(first, axis=axes, where=some, initial=jnp.iinfo(first.dtype).max)
    last = jnp.max(last, axis=axes)
    return jnp.stack([jnp.where(last > 0, first, 0), last], axis=-1)


def attend_needed(
    attend: Callable[[Operands], Rows],
    block: Operands,
    axes: Any,
    key_range: Int[Array, "2"],
) -> Rows:
    """`attend(block)` on the keys that the block attends to and not many more.

    So are derivatives: within each width the block is rematerialised, since differentiating
    a choice between widths keeps what every one of them would keep, as zeros where it was
    not taken; rematerialised, that is the block's own arrays, the same for all.
    """
    num_keys = block.values.shape[-2]

    def on_some(block: Operands, start: Array, width: int) -> Rows:
        rows = attend(take_keys(block, axes, start, width))
        return over_all_keys(rows, start, num_keys)

    def narrow(block: Operands, key_range: Array) -> Rows:
        attend = functools.partial(on_some, block)
        return on_needed_keys(attend, key_range, num_keys)

    def derivative(primals: tuple, tangents: tuple) -> tuple[Rows, Rows]:
        block, key_range = primals
        block_dot, _ = tangents

        def tangent(start: Array, width: int) -> Rows:
            @jax.checkpoint
            def push_forward(
                block: Operands, block_dot: Operands, start: Array
            ) -> Rows:
                attend = functools.partial(on_some, start=start, width=width)
                return jax.jvp(attend, (block,), (block_dot,))[1]

            return push_forward(block, block_dot, start)

        # Not `narrow`: derivatives of derivatives are to come here again.
        return needed(*primals), on_needed_keys(tangent, key_range, num_keys)

    # A custom derivative knows its arguments only. What else a function computes with, such as
    # a learned number that a score has captured, would get none, so that all keys are taken.
    narrowest = functools.partial(on_some, width=widths(num_keys)[-1])
    captured = jax.make_jaxpr(narrowest)(block, key_range[0]).consts
    if any(isinstance(one, jax.core.Tracer) for one in captured):
        return attend(block)
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
        result = one([], shared)
        return jax.tree.map(
            lambda x: jnp.broadcast_to(x[None], (axis_size, *x.shape)), result
        )

    def step(arguments: tuple[Array, list[Array]]) -> Any:
        # Differentiating a scan, JAX moves what is the same in every step out of it, and
        # would so keep a mask's [T, S] booleans; tied to the step it stays.
        index, slices = arguments
        return one(slices, jax.lax.optimization_barrier((index, shared))[1])

    return jax.lax.map(step, (jnp.arange(axis_size), mapped))


def over_blocks(
    rows: Callable[[Operands, Array | None], Rows],
    block: Operands,
    axes: Any,
    key_ranges: Int[Array, "blocks 2"] | None,
    size: int,
    leading: tuple[int, ...],
) -> Rows:
    """`rows` of each block of `size` queries, joined; one block is not looped."""
    num_queries = block.query.shape[-2]
    blocks = max(1, math.ceil(num_queries / size)) if size else 1
    if blocks == 1:
        # Rematerialised too: the loop over sequences would keep every sequence's scores.
        only = None if key_ranges is None else key_ranges[..., 0, :]
        return jax.checkpoint(rows)(block, only)
    padded = blocks * size
    depth = len(leading)
    # The arrays that differ by query, in order, as the loop takes them and as it puts them back.
    by_query: list[Array] = []

    def collect(array: Array, axis: int) -> Array:
        by_query.append(_split(array, axis, blocks))
        return array

    take_queries(block, axes, collect)

    @jax.checkpoint
    def one_block(slices: tuple) -> Rows:
        by_query, key_range = slices
        remaining = iter(by_query)
        some = take_queries(block, axes, lambda array, axis: next(remaining))
        return rows(some, key_range)

    def step(column_sum: Array | None, slices: tuple) -> tuple[Array | None, Rows]:
        result = one_block(slices)
        if result.column_sum is not None:
            column_sum = column_sum + result.column_sum
        return column_sum, result._replace(column_sum=None)

    slices = (by_query, key_ranges)
    shape = jax.eval_shape(one_block, jax.tree.map(lambda x: x[0], slices)).column_sum
    start = None
    if shape is not None:
        start = like(jnp.zeros(shape.shape, shape.dtype), block)
    column_sum, stacked = jax.lax.scan(step, start, slices)

    def joined(x: Array) -> Array:
        x = jnp.moveaxis(x, 0, depth)
        x = x.reshape(*x.shape[:depth], padded, *x.shape[depth + 2 :])
        return jax.lax.slice_in_dim(x, 0, num_queries, axis=depth)

    return jax.tree.map(joined, stacked)._replace(column_sum=column_sum)


def _split(array: Array, axis: int, blocks: int) -> Array:
    """[..., T, ...] -> [blocks, ..., block, ...], padded with the last row, or with False.

    A real row, since a score may have no derivative at a query of zeros.
    """
    axis += array.ndim
    size = math.ceil(array.shape[axis] / blocks)
    padding = blocks * size - array.shape[axis]
    if padding:
        # Not by jnp.pad's mode "edge": it takes the edges of every axis, and the derivative
        # of that, where devices divide one, is a message from each to the next.
        last = jax.lax.slice_in_dim(array, -1, None, axis=axis)
        if array.dtype == bool:
            last = jnp.zeros_like(last)
        array = jnp.concatenate([array, jnp.repeat(last, padding, axis)], axis)
    shape = (*array.shape[:axis], blocks, size, *array.shape[axis + 1 :])
    return jnp.moveaxis(array.reshape(shape), axis, 0)
