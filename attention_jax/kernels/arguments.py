"""The argument checks of `attention`, before any library's."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
from attention_jax.checks import broadcast_leading, check_params, floating, integers
from attention_jax.errors import unknown_name
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.kernels.operands import Operands, Options, lead
from attention_jax.single_query import check_prepared_for
from attention_jax.statistics import TopK, statistic_names, top_k
from attention_jax.types import Array


def check_statistics(statistics: Any) -> tuple[str | TopK, ...]:
    """The requested statistics, each once.

    Raises:
      UnknownNameError: a name is unknown. TypeError: not a sequence of names, or `top_k`
        without its k. ValueError: `top_k` is there with two different k.
    """
    example = "such as ('entropy', top_k(3))"
    if isinstance(statistics, str):
        raise TypeError(
            f"statistics must be a sequence, such as ({statistics!r},), "
            f"not the string {statistics!r}"
        )
    if not isinstance(statistics, Sequence):
        raise TypeError(f"statistics must be a sequence, {example}, not {statistics!r}")
    for one in statistics:
        if not isinstance(one, TopK) and one not in statistic_names():
            if one is top_k or one == "top_k":
                raise TypeError("statistics: top_k needs a number, as in top_k(3)")
            raise unknown_name("statistic", one, (*statistic_names(), "top_k"))
    chosen = tuple(dict.fromkeys(statistics))
    if sum(isinstance(one, TopK) for one in chosen) > 1:
        raise ValueError("statistics: top_k can be asked for once only")
    return chosen


def check_chunk_size(chunk_size: Any) -> int | None:
    """`chunk_size` as an int, or None.

    Raises:
      TypeError: it is not an integer. ValueError: it is below 1.
    """
    if chunk_size is None:
        return None
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, int | np.integer):
        raise TypeError(f"chunk_size must be an integer or None, not {chunk_size!r}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    return int(chunk_size)


def check_operands(
    options: Options,
    query: Any,
    keys: Any,
    values: Any,
    *,
    params: Any,
    mask: Any,
    query_positions: Any,
    key_positions: Any,
    dropout_rng: Any,
) -> Operands:
    """The arguments of `attention` as arrays of fitting shapes and dtypes.

    Raises:
      ValueError, TypeError: as `attention` says.
    """
    score = options.score
    query, values = floating("query", query), floating("values", values)
    arrays = {"query": query, "values": values}
    if isinstance(keys, PreparedKeys):
        check_prepared_for(score, keys)
    else:
        keys = arrays["keys"] = floating("keys", keys)
    for name, array in arrays.items():
        if array.ndim < 2:
            axes = {"query": "[..., T, Q]", "keys": "[..., S, K]"}
            raise ValueError(
                f"{name} must be {axes.get(name, '[..., S, V]')}, "
                f"but the shape is {array.shape}"
            )
    if isinstance(keys, PreparedKeys):
        num_keys, key_size, key_leading = keys.length, None, keys.leading
    else:
        num_keys, key_size, key_leading = keys.shape[-2], keys.shape[-1], lead(keys, 2)
    if values.shape[-2] != num_keys:
        raise ValueError(
            f"keys and values must be equally many along axis -2, but there are "
            f"{num_keys} keys and values of shape {values.shape}"
        )
    num_queries = query.shape[-2]
    checked_params = check_params(
        score, params, query_size=query.shape[-1], key_size=key_size
    )
    leading = broadcast_leading(
        query=lead(query, 2), keys=key_leading, values=lead(values, 2)
    )
    operands = Operands(
        query=query,
        keys=keys,
        values=values,
        params=checked_params,
        mask=None if mask is None else masks.as_mask(mask),
        query_positions=check_positions(
            "query_positions", query_positions, num_queries, leading
        ),
        key_positions=check_positions(
            "key_positions", key_positions, num_keys, leading
        ),
        dropout_rng=None if dropout_rng is None else as_typed_key(dropout_rng),
    )
    if operands.mask is not None:
        check_mask(operands.mask, num_queries, num_keys, leading)
    return operands


def check_positions(
    name: str, positions: Any, length: int, leading: tuple[int, ...]
) -> Array:
    """Positions as integers [..., length]; counting from 0 if not given.

    Raises:
      ValueError, TypeError: wrong shape or dtype.
    """
    if positions is None:
        return jnp.arange(length)
    array = integers(name, positions)
    if array.ndim == 0:
        array = jnp.broadcast_to(array, (length,))
    if array.shape[-1] != length or not _broadcasts_to(lead(array, 1), leading):
        expected = [*leading, length]
        raise ValueError(
            f"{name} must be broadcastable to {expected}, with {length} along the last "
            f"axis, but the shape is {array.shape}"
        )
    return array


def check_mask(
    mask: masks.Mask, num_queries: int, num_keys: int, leading: tuple[int, ...]
) -> None:
    """Raises ValueError unless every leaf of the mask fits [..., T, S]."""
    for leaf, axes in zip(jax.tree.leaves(mask), mask.leaf_axes(), strict=True):
        lengths = {"T": num_queries, "S": num_keys}
        core = leaf.shape[leaf.ndim - len(axes) :]
        may_broadcast = len(axes) == 2
        fits = all(
            length == lengths[letter] or (may_broadcast and length == 1)
            for letter, length in zip(axes, core, strict=True)
        )
        if not fits or not _broadcasts_to(lead(leaf, len(axes)), leading):
            expected = [*leading, *(lengths[letter] for letter in axes)]
            names = "".join(f", {letter}" for letter in axes)
            raise ValueError(
                f"mask must be broadcastable to [...{names}] = {expected}, "
                f"but the shape is {leaf.shape}"
            )


def as_typed_key(rng: Any) -> Array:
    """A PRNG key as a typed one; raw uint32 keys are wrapped."""
    if isinstance(rng, jax.Array | np.ndarray) and jnp.issubdtype(
        rng.dtype, jax.dtypes.prng_key
    ):
        return jnp.asarray(rng)
    try:
        return jax.random.wrap_key_data(jnp.asarray(rng))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"dropout_rng must be a PRNG key from jax.random.key: {error}"
        ) from error


def _broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return jnp.broadcast_shapes(shape, target) == target
    except ValueError:
        return False
