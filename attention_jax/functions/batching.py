"""Mapping an unbatched function over broadcast leading axes, copying nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from attention_jax.types import Array


def vectorize(
    function: Callable[..., Any],
    in_axes: tuple[int | None, ...],
    axis_size: int,
    arrays: Sequence[Array],
) -> Any:
    """`function` over one axis by `vmap`."""
    return jax.vmap(function, in_axes=in_axes, axis_size=axis_size)(*arrays)


def map_leading(
    function: Callable[..., Any],
    leading: tuple[int, ...],
    arrays: Sequence[Array],
    core_ndims: Sequence[int],
    *,
    mapper: Callable[..., Any] = vectorize,
) -> Any:
    """`function(*arrays)` over the leading axes of its arguments.

    An array's last `core_ndims` axes are its own; those before are leading, aligned from
    the right. An axis that is missing or of length 1 is not copied: it is left out of
    the `vmap`, so one head of keys serves many heads of queries.

    Args:
      function: takes unbatched arrays, returns a pytree of arrays.
      leading: the leading shape that all arrays broadcast to.
      arrays: [..., *core].
      core_ndims: the number of core axes of each array.
      mapper: how one axis is mapped: (function, in_axes, axis_size, arrays) -> outputs
        with that axis in front. All at once by default.

    Returns:
      The outputs with the axes `leading` in front.
    """
    if not leading:
        return function(*arrays)
    outer, *inner = leading
    in_axes, squeezed = [], []
    for array, core in zip(arrays, core_ndims, strict=True):
        has_axis = array.ndim - core > len(inner)
        mapped = has_axis and (array.shape[0] != 1 or outer == 1)
        if has_axis and not mapped:
            array = array[0]
        in_axes.append(0 if mapped else None)
        squeezed.append(array)

    def one(*slices: Array) -> Any:
        return map_leading(function, tuple(inner), slices, core_ndims, mapper=mapper)

    return mapper(one, tuple(in_axes), outer, squeezed)
