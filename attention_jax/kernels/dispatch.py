"""`attention`: check the arguments, choose a kernel, run it compiled."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from attention_jax.checks import check_rate
from attention_jax.errors import unknown_name
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.registry import Registry
from attention_jax.functions.score import get_score
from attention_jax.kernels.arguments import (
    check_chunk_size,
    check_operands,
    check_statistics,
)
from attention_jax.kernels.chunked import attend_chunked
from attention_jax.kernels.cost_model import bytes_per_query
from attention_jax.kernels.operands import Operands, Options
from attention_jax.kernels.reference import attend_reference
from attention_jax.kernels.rows import Rows
from attention_jax.statistics import COLUMN_SUM, TopK, result_names
from attention_jax.types import Array, ArrayLike, Float, Int

Kernel = Callable[[Operands, Options], Rows]

AUTO = "auto"
# Up to here `auto` computes all rows at once. Between what was measured on two cores, where
# at 24 MiB a loop over blocks costs time and at 32 it saves some.
REFERENCE_BYTES = 28 * 2**20

kernels = Registry[Kernel]("implementation")
kernels.register("reference", attend_reference, function=attend_reference)
kernels.register("chunked", attend_chunked, function=attend_chunked)


class AttentionOutput(NamedTuple):
    """What T queries took from the values.

    Attributes:
      context: [..., T, V] in the query's dtype.
      weights: [..., T, S] in the query's dtype, before dropout; None unless
        `return_weights`.
      statistics: the requested statistics by name, in the dtype of the computation:
        [..., T] each, but `column_sum` [..., S] and `top_k`'s two [..., T, k].
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
    statistics: Sequence[str | TopK] = (),
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
      statistics: any of `statistic_names()` and a `top_k(k)`, computed from the weights
        before dropout.

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
    operands, options = check_call(
        query,
        keys,
        values,
        score=score,
        normalizer=normalizer,
        params=params,
        mask=mask,
        query_positions=query_positions,
        key_positions=key_positions,
        dropout_rate=dropout_rate,
        dropout_rng=dropout_rng,
        implementation=implementation,
        chunk_size=chunk_size,
        return_weights=return_weights,
        statistics=statistics,
    )
    return attend_checked(operands, options, implementation)


def check_call(
    query: Any,
    keys: Any,
    values: Any,
    *,
    score: Any,
    normalizer: Any,
    params: Any,
    mask: Any,
    query_positions: Any,
    key_positions: Any,
    dropout_rate: Any,
    dropout_rng: Any,
    implementation: str,
    chunk_size: Any,
    return_weights: bool,
    statistics: Sequence[str | TopK],
) -> tuple[Operands, Options]:
    """The arguments of `attention`, checked; raises what it raises."""
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
    return operands, options


def choose(operands: Operands, options: Options) -> str:
    """The kernel that `auto` stands for.

    `reference` while the largest array it computes through, for all queries of the call,
    takes at most `REFERENCE_BYTES`; `chunked` beyond.
    """
    queries = operands.num_queries * math.prod(operands.leading)
    large = queries * bytes_per_query(operands, options) > REFERENCE_BYTES
    return "chunked" if large else "reference"


@functools.partial(jax.jit, static_argnames=("options", "name"))
def attend_checked(operands: Operands, options: Options, name: str) -> AttentionOutput:
    """What `attention` returns, of arguments that `check_call` has checked."""
    if name == AUTO:
        name = choose(operands, options)
    rows = kernels.get(name)(operands, options)
    dtype = operands.query.dtype
    found = dict(rows.statistics)
    if rows.column_sum is not None:
        found[COLUMN_SUM] = rows.column_sum
    return AttentionOutput(
        rows.context.astype(dtype),
        None if rows.weights is None else rows.weights.astype(dtype),
        {name: found[name] for name in result_names(options.statistics)},
    )
