"""Which keys a block of queries needs: those between the first and the last it attends to."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from attention_jax.arguments import Operands
from attention_jax.functions.batching import like
from attention_jax.kernels.masking import mask_rows, over_sequences
from attention_jax.kernels.reference import Rows
from attention_jax.masks import Mask
from attention_jax.statistics import KEY_INDICES
from attention_jax.types import Array, Bool, Int

# Each width is one more branch to compile, so they are few: steps of a quarter for causal
# masks, halves below for windows.
SHARES = (1, 3 / 4, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
# Fewer keys than this are not worth a branch.
FEWEST = 64


def widths(num_keys: int) -> tuple[int, ...]:
    """The numbers of keys that a block may be computed with, falling from S."""
    found: list[int] = []
    for share in SHARES:
        width = max(min(num_keys, FEWEST), math.ceil(num_keys * share))
        # A branch that saves hardly a key is not worth compiling.
        if not found or width < 0.9 * found[-1]:
            found.append(width)
    return tuple(found)


def used_keys(
    operands: Operands, blocks: int, block: int
) -> tuple[Bool[Array, "... S"], Int[Array, "... blocks 2"]]:
    """Which keys some query attends to, and each block's range of them.

    Both over the mask's leading axes only, and never [T, S] at once.

    Returns:
      used: True where some query attends to the key.
      ranges: the first key a block attends to, and one past the last; 0, 0 if none.
    """
    mask = operands.mask
    assert mask is not None
    num_queries, num_keys = operands.num_queries, operands.num_keys
    size = min(block, num_queries)

    def one_sequence(
        mask: Mask, query_positions: Array, key_positions: Array
    ) -> tuple[Array, Array]:
        def of_block(start: Array) -> Array:
            # The last block is moved back into range: it then sees rows of the one before,
            # which at worst widens its range.
            start = jnp.minimum(start, num_queries - size)

            def rows(array: Array, axis: int) -> Array:
                return jax.lax.dynamic_slice_in_dim(array, start, size, axis)

            where = mask_rows(
                mask.of_queries(rows, num_queries),
                rows(query_positions, -1),
                key_positions,
            )
            return jnp.any(where, axis=0)

        def step(used: Array, start: Array) -> tuple[Array, Array]:
            here = of_block(start)
            return used | here, _range(here)

        arrays = mask, query_positions, key_positions
        start = like(jnp.zeros(num_keys, bool), arrays)
        return jax.lax.scan(step, start, jnp.arange(blocks) * block)

    return over_sequences(
        one_sequence, mask, operands.query_positions, operands.key_positions
    )


def _range(used: Bool[Array, "S"]) -> Int[Array, "2"]:
    if used.shape[0] == 0:
        return jnp.zeros(2, jnp.int32)
    first = jnp.argmax(used)
    last = used.shape[0] - jnp.argmax(used[::-1])
    some = used[first]
    return jnp.where(some, jnp.stack([first, last]), 0).astype(jnp.int32)


def on_needed_keys(
    attend: Callable[[Array, int], Rows], key_range: Int[Array, "2"], num_keys: int
) -> Rows:
    """`attend(start, width)` with the fewest keys that cover the range.

    Args:
      attend: the rows' result from `width` keys from `start` on, for all S keys; `width`
        is static.
      key_range: first key and one past the last.
      num_keys: S.
    """
    choices = widths(num_keys)
    first, last = key_range
    # Widths fall, so those that suffice come first; the last of them is the best.
    enough = jnp.array(choices, last.dtype) >= last - first

    def branch(width: int) -> Rows:
        return attend(jnp.minimum(first, num_keys - width), width)

    return jax.lax.switch(
        jnp.sum(enough) - 1, [functools.partial(branch, width) for width in choices]
    )


def over_all_keys(rows: Rows, start: Array, num_keys: int) -> Rows:
    """What was found for some keys, placed among all S."""

    def place(array: Array | None) -> Array | None:
        if array is None:
            return None
        whole = jnp.zeros((*array.shape[:-1], num_keys), array.dtype)
        return jax.lax.dynamic_update_slice_in_dim(whole, array, start, axis=-1)

    statistics = {
        name: jnp.where(found < 0, found, found + start)
        if name in KEY_INDICES
        else found
        for name, found in rows.statistics.items()
    }
    return rows._replace(
        weights=place(rows.weights),
        column_sum=place(rows.column_sum),
        statistics=statistics,
    )
