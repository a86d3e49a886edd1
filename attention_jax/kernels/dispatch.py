"""`attention`: check the arguments, choose a kernel, run it compiled."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
from attention_jax.checks import (
    broadcast_leading,
    check_params,
    check_rate,
    floating,
    integers,
)
from attention_jax.kernels.operands import Operands, Options, lead
from attention_jax.kernels.reference import attend_reference
from attention_jax.kernels.rows import Rows
from attention_jax.kernels.statistics import COLUMN_SUM, statistic_names
from attention_jax.normalizer_function import get_normalizer
from attention_jax.prepared import PreparedKeys
from attention_jax.registry import Registry, unknown_name
from attention_jax.score_function import get_score
from attention_jax.single_query import check_prepared_for
from attention_jax.types import Array, ArrayLike, Float, Int

Kernel = Callable[[Operands, Options], Rows]

AUTO = "auto"
kernels = Registry[Kernel]("implementation")
kernels.register("reference", attend_reference, function=attend_reference)


class AttentionOutput(NamedTuple):
    """What T queries took from the values.

    Attributes:
      context: [..., T, V] in the query's dtype.
      weights: [..., T, S] in the query's dtype, before dropout; None unless
        `return_weights`.
      statistics: the requested statistics by name, in the dtype of the computation:
        [..., T] each, but `column_sum` [..., S].
    """

    context: Float[Array, "... T V"]
    weights: Float[Array, "... T S"] | None
    statistics: dict[str, Array]


def implementation_names() -> tuple[str, ...]:
    """What `implementation=` may be."""
    return (AUTO, *kernels.names())


def attention(
    query: Float[ArrayLike, "... T Q"],
    keys: Any,
    values: Float[ArrayLike, "... S V"],
    *,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    params: Any = None,
    mask: Any = None,
    query_positions: Int[ArrayLike, "... T"] | None = None,
    key_positions: Int[ArrayLike, "... S"] | None = None,
    dropout_rate: float = 0.0,
    dropout_rng: Array | None = None,
    implementation: str = AUTO,
    chunk_size: int | None = None,
    return_weights: bool = False,
    statistics: Sequence[str] = (),
) -> AttentionOutput:
    """Attention of T queries to S keys and their values: `attend` for every query.

        e_ti = score(q_t, k_i)    a_t = normalizer(e_t)    o_t = Σ_i a_ti v_i

    Args:
      query: [..., T, Q]. `...` is any number of leading axes; those of queries, keys and
        values broadcast against each other without copying.
      keys: [..., S, K], or what `prepare_keys` returned for this score.
      values: [..., S, V].
      score: anything `get_score` takes.
      normalizer: anything `get_normalizer` takes.
      params: the score's parameters, by name.
      mask: booleans broadcastable to [..., T, S], True = attend, or a mask from
        `attention_jax.masks`.
      query_positions: integers [..., T], what masks and scores by position see; 0..T−1 if
        not given. One decoding step at position t passes [t].
      key_positions: integers [..., S]; 0..S−1 if not given.
      dropout_rate: share of weights dropped, the rest scaled by 1 / (1 − rate).
      dropout_rng: a PRNG key; needed if dropout_rate > 0. The weights dropped do not
        depend on the implementation or chunk size.
      implementation: "auto" or one of `implementation_names()`. All agree within
        rounding.
      chunk_size: queries per block, any value ≥ 1, for implementations with blocks.
      return_weights: also return the [..., T, S] weights.
      statistics: any of `statistic_names()`, computed from the weights before dropout.

    Returns:
      An `AttentionOutput`, computed in promote(query dtype, float32). A query with
      nothing to attend to has context and weights 0, with gradient 0. NaN or infinity in a
      key or value that is masked for every query reaches neither outputs nor gradients.

    Raises:
      ValueError: a shape or value does not fit, or params are missing.
      TypeError: a dtype does not fit, such as an integer mask.
      UnknownNameError: a LookupError for an unknown score, normaliser, implementation or
        statistic; lists the known names and the nearest.

    Jitted inside: a second eager call with equal shapes and options does not trace again.
    Cost: the score's FLOPs + 2·T·S·V per sequence; memory as the implementation says.
    """
    options = Options(
        score=get_score(score),
        normalizer=get_normalizer(normalizer),
        dropout_rate=check_rate(dropout_rate, dropout_rng),
        return_weights=bool(return_weights),
        statistics=check_statistics(statistics),
        chunk_size=check_chunk_size(chunk_size),
    )
    if implementation != AUTO and implementation not in kernels.names():
        raise unknown_name("implementation", implementation, implementation_names())
    operands = check_operands(
        options,
        query,
        keys,
        values,
        params=params,
        mask=mask,
        query_positions=query_positions,
        key_positions=key_positions,
        dropout_rng=dropout_rng if options.dropout_rate > 0 else None,
    )
    name = choose(operands, options) if implementation == AUTO else implementation
    return _run(operands, options, name)


def choose(operands: Operands, options: Options) -> str:
    """The kernel that `auto` stands for."""
    del operands, options
    return "reference"


@functools.partial(jax.jit, static_argnames=("options", "name"))
def _run(operands: Operands, options: Options, name: str) -> AttentionOutput:
    rows = kernels.get(name)(operands, options)
    dtype = operands.query.dtype
    found = dict(rows.statistics)
    if rows.column_sum is not None:
        found[COLUMN_SUM] = rows.column_sum
    return AttentionOutput(
        rows.context.astype(dtype),
        None if rows.weights is None else rows.weights.astype(dtype),
        {name: found[name] for name in options.statistics},
    )


def check_statistics(statistics: Any) -> tuple[str, ...]:
    """The requested names, each once.

    Raises:
      UnknownNameError: one is unknown. TypeError: not a sequence of names.
    """
    if isinstance(statistics, str):
        raise TypeError(
            f"statistics must be a sequence of names, such as ({statistics!r},)"
        )
    for name in statistics:
        if name not in statistic_names():
            raise unknown_name("statistic", name, statistic_names())
    return tuple(dict.fromkeys(statistics))


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
        num_keys, key_size, key_leading = keys.length, None, keys.leading
    else:
        keys = arrays["keys"] = floating("keys", keys)
    for name, array in arrays.items():
        if array.ndim < 2:
            axes = {"query": "[..., T, Q]", "keys": "[..., S, K]"}
            raise ValueError(
                f"{name} must be {axes.get(name, '[..., S, V]')}, "
                f"but the shape is {array.shape}"
            )
    if not isinstance(keys, PreparedKeys):
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
