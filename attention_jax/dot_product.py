"""`dot_product_attention`: attention as `jax.nn.dot_product_attention` takes its arguments."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
from attention_jax.arguments import (
    as_array,
    broadcastable,
    check_params,
    compute_dtype,
    floating,
)
from attention_jax.attention import AUTO, attention
from attention_jax.errors import UnknownNameError
from attention_jax.functions import numbers
from attention_jax.functions.head_groups import HeadGroups
from attention_jax.functions.params import declare
from attention_jax.functions.score import Score, get_score
from attention_jax.masks import Mask
from attention_jax.scores import dot, scaled_dot
from attention_jax.types import Array, ArrayLike, Bool, Float, Int


def dot_product_attention(
    query: Float[ArrayLike, "*B T N H"],
    key: Float[ArrayLike, "*B S K H"],
    value: Float[ArrayLike, "*B S K V"],
    bias: Float[ArrayLike, "#B #N #T #S"] | None = None,
    mask: Bool[ArrayLike, "#B #N #T #S"] | Mask | None = None,
    *,
    scale: Any = None,
    is_causal: bool = False,
    query_seq_lengths: Int[ArrayLike, "B"] | None = None,
    key_value_seq_lengths: Int[ArrayLike, "B"] | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    params: Any = None,
    dropout_rate: float = 0.0,
    dropout_rng: Array | None = None,
) -> Any:
    """`attention`, with the arguments of `jax.nn.dot_product_attention`.

        e_ti = scale · q_t · k_i + bias_ti    a_t = softmax(e_t)    o_t = Σ_i a_ti v_i

    of each of N heads, which are the last axis but one. The results are jax.nn's, but where
    a query has nothing to attend to: there they are 0, with gradient 0, and jax.nn's are the
    mean of the values. float64 is computed in float64, bfloat16 in float32.

    Args:
      query: [B, T, N, H] or [T, N, H].
      key: [B, S, K, H] or [S, K, H], where N is a multiple of K: a key head serves N / K
        query heads, one after another. They are broadcast, not copied, unless score, params
        or mask tell heads apart.
      value: as the keys; as wide as one likes.
      bias: floats broadcastable to [B, N, T, S], added to the scores.
      mask: booleans broadcastable to [B, N, T, S], True = attend, or a mask from
        `attention_jax.masks` with leading axes [B, N], or [N] without a batch.
      scale: what the dot products are multiplied by, 1 / √H if not given. It may be traced
        and is differentiated.
      is_causal: whether query t attends to keys 0..t only.
      query_seq_lengths: integers [B]; the context of later queries is 0.
      key_value_seq_lengths: integers [B]; later keys are padding.
      local_window_size: (left, right): query t attends to keys t − left..t + right only; an
        integer stands for both.
      implementation: one of `implementation_names()`; None and "xla" are "auto".
      return_residual: also return the logsumexp of each query's scores.
      score: anything `get_score` takes.
      normalizer: anything `get_normalizer` takes.
      params: the score's parameters; with leading axes [N] for one a head.
      dropout_rate: as for `attention`.
      dropout_rng: as for `attention`.

    Returns:
      The context, shaped as the query, but as wide as the values, in the query's dtype. With
      `return_residual` the pair of it and the logsumexp [B, T, N] or [T, N], in that dtype,
      −inf where there is nothing to attend to, and, as jax.nn's, without a derivative
      (`attention`'s statistic has one).

    Raises:
      ValueError: a shape or value does not fit; a scale is given to another score.
      TypeError: a dtype does not fit.
      UnknownNameError: as `attention`.

        >>> dot_product_attention(query, key, value, is_causal=True, score="cosine", ...)
    """
    shape = np.shape(query)
    query, key, value = _check_heads(query, key, value)
    batch, num_queries, num_heads, _ = query.shape
    expected = (batch, num_heads, num_queries, key.shape[1])
    groups = HeadGroups(num_heads, key.shape[2])
    score = get_score(score)
    if scale is not None:
        if score != scaled_dot:
            raise ValueError(
                f"scale multiplies dot products, but the score is {score!r}"
            )
        check_params(score, params, {})
        score, params = _dot_times_scale, {"scale": _check_scale(scale, query)}
    conditions = []
    if isinstance(mask, Mask):
        conditions.append(_check_leading(mask) if len(shape) == 4 else mask)
    elif mask is not None:
        dense = broadcastable("mask", as_array("mask", mask), expected, "B, N, T, S", 4)
        conditions.append(masks.dense(dense))
    if bias is not None:
        bias = broadcastable("bias", floating("bias", bias), expected, "B, N, T, S", 4)
    if is_causal:
        conditions.append(masks.causal())
    if local_window_size is not None:
        conditions.append(masks.window(*_check_window(local_window_size)))
    if query_seq_lengths is not None:
        lengths = _check_lengths("query_seq_lengths", query_seq_lengths, batch)
        index = jnp.arange(num_queries, dtype=lengths.dtype)[None, None, :, None]
        conditions.append(masks.dense(index < lengths[..., None, None]))
    if key_value_seq_lengths is not None:
        lengths = _check_lengths("key_value_seq_lengths", key_value_seq_lengths, batch)
        conditions.append(masks.padding(lengths))
    allowed = functools.reduce(operator.and_, conditions) if conditions else None
    queries, keys, values = (x.swapaxes(1, 2) for x in (query, key, value))
    if params and groups.splits:
        params = groups.params(score, check_params(score, params, {}))
    found = attention(
        groups.split("query", queries, 2),
        groups.keys(keys),
        groups.keys(values),
        score=groups.score(score),
        normalizer=normalizer,
        params=params,
        mask=groups.mask(allowed),
        bias=None if bias is None else groups.split("bias", bias, 2),
        dropout_rate=dropout_rate,
        dropout_rng=dropout_rng,
        implementation=_check_implementation(implementation),
        statistics=("logsumexp",) if return_residual else (),
    )
    context = groups.joined(found.context, 1).swapaxes(1, 2)
    context = context.reshape(*shape[:-1], value.shape[-1])
    residual = found.statistics.get("logsumexp")
    if residual is None:
        return context
    residual = groups.joined(residual, 1)
    residual = jax.lax.stop_gradient(residual.swapaxes(1, 2).reshape(shape[:-1]))
    return context, residual.astype(context.dtype)


def _times_scale(query: Array, keys: Array, *, scale: Array) -> Array:
    return dot(query * scale, keys)


_dot_times_scale = Score(_times_scale, declare({"scale": ""}), block_sparse=True)


def _check_heads(query: Any, key: Any, value: Any) -> tuple[Array, Array, Array]:
    """The arrays with four axes, of which the batch and the heads fit."""
    arrays = []
    for name, letters, given in (
        ("query", "T, N, H", query),
        ("key", "S, K, H", key),
        ("value", "S, K, V", value),
    ):
        array = floating(name, given)
        if array.ndim not in (3, 4):
            raise ValueError(
                f"{name} must be [B, {letters}] or [{letters}], "
                f"but the shape is {array.shape}"
            )
        arrays.append(array if array.ndim == 4 else array[None])
    query, key, value = arrays
    for axis, what in enumerate(("batch size", "length", "number of heads")):
        if key.shape[axis] != value.shape[axis]:
            raise ValueError(
                f"key and value must have one {what}, axis {axis} of [B, S, K, H], but "
                f"their shapes are {key.shape} and {value.shape}"
            )
    if query.shape[0] != key.shape[0]:
        raise ValueError(
            "query and key must have one batch size, axis 0 of [B, T, N, H], but their "
            f"shapes are {query.shape} and {key.shape}"
        )
    num_heads, key_heads = query.shape[2], key.shape[2]
    if key_heads == 0 or num_heads % key_heads:
        raise ValueError(
            "query's number of heads, axis 2 of [B, T, N, H], must be a multiple of "
            f"key's, but their shapes are {query.shape} and {key.shape}"
        )
    return query, key, value


def _check_leading(mask: Mask) -> Mask:
    """The mask, none of whose arrays has one leading axis: of the batch or of the heads?"""
    for leaf, axes in zip(jax.tree.leaves(mask), mask.leaf_axes(), strict=True):
        if leaf.ndim - len(axes) == 1 and leaf.shape[0] != 1:
            raise ValueError(
                "mask must have arrays with the leading axes [B, N], or [B, 1] for the same "
                f"in all heads, but one has the shape {leaf.shape}"
            )
    return mask


def _check_lengths(name: str, lengths: Any, batch: int) -> Array:
    array = numbers.integers(name, lengths, counts=True)
    if array.shape != (batch,):
        raise ValueError(
            f"{name} must be [B] = [{batch}], but the shape is {array.shape}"
        )
    return array[:, None]


def _check_window(window: Any) -> tuple[int, int]:
    sides = window if isinstance(window, tuple | list) else (window, window)
    if len(sides) != 2:
        raise TypeError(
            "local_window_size must be an integer or a pair of them, (left, right), "
            f"not {window!r}"
        )
    left, right = (numbers.count("local_window_size", side, 0) for side in sides)
    return left, right


def _check_scale(scale: Any, query: Array) -> Array:
    if not isinstance(scale, jax.Array):
        scale = numbers.finite("scale", scale)
    elif scale.ndim or not jnp.issubdtype(scale.dtype, jnp.floating):
        raise TypeError(
            f"scale must be a floating-point number, but is {scale.dtype} of shape "
            f"{scale.shape}"
        )
    return jnp.asarray(scale, compute_dtype(query))


def _check_implementation(name: str | None) -> str:
    """Ours for one of jax.nn's."""
    if name == "cudnn":
        raise UnknownNameError(
            "implementation 'cudnn' is a kernel of jax.nn.dot_product_attention: call that, "
            "or leave the implementation to us, which None does"
        )
    return AUTO if name in (None, "xla") else name
