"""The reference kernel: all rows at once, the specification of every other kernel."""

import jax
import jax.numpy as jnp

from attention_jax.checks import compute_dtype
from attention_jax.functions.batching import map_leading
from attention_jax.kernels.cost_model import prepared_keys
from attention_jax.kernels.masking import dense_mask, silence_unused
from attention_jax.kernels.operands import Operands, Options
from attention_jax.kernels.rows import Rows, attend_rows, divided
from attention_jax.types import Array


def attend_reference(operands: Operands, options: Options) -> Rows:
    """Scores and weights of all T queries at once, per sequence.

    Cost: the score's FLOPs + 2·T·S·V per sequence; keeps [..., T, S] scores, and whatever
    the score needs per query and key ([..., T, S, A] for `additive` where the compiler
    does not fuse it).
    """
    dtype = compute_dtype(operands.query)
    leading, num_queries = operands.leading, operands.num_queries
    dense = None
    if operands.mask is not None:
        dense = dense_mask(
            operands.mask, operands.query_positions, operands.key_positions
        )
        operands = silence_unused(operands, jnp.any(dense, axis=-2))
    params = {name: value.astype(dtype) for name, value in operands.params.items()}
    prepared = prepared_keys(operands, options, dtype)
    rows = row_numbers(leading, num_queries)
    leaves, tree = jax.tree.flatten(prepared.arrays)

    def one_sequence(*arrays: Array) -> Rows:
        query, values, query_positions, key_positions, rows, *rest = arrays
        where = None
        if dense is not None:
            where, *rest = rest
            where = jnp.broadcast_to(where, (query.shape[0], values.shape[0]))
        result = attend_rows(
            options,
            params,
            query,
            jax.tree.unflatten(tree, rest),
            values,
            where,
            query_positions,
            key_positions,
            rows,
            operands.dropout_rng,
        )
        return divided(result)

    arrays = [
        operands.query.astype(dtype),
        operands.values.astype(dtype),
        operands.query_positions,
        operands.key_positions,
        rows,
        *([] if dense is None else [dense]),
        *leaves,
    ]
    cores = [2, 2, 1, 1, 1, *([] if dense is None else [2]), *prepared.core_ndims]
    return map_leading(one_sequence, leading, arrays, cores)


def row_numbers(leading: tuple[int, ...], num_queries: int) -> Array:
    """A number for every query of the call, [..., T]."""
    shape = (*leading, num_queries)
    size = 1
    for axis in shape:
        size *= axis
    return jnp.arange(size, dtype=jnp.uint32).reshape(shape)
