"""Attention: for one query, for any number of them, for chosen rows, and what it would cost.

A call goes through four files: this one, `arguments` (what was given, checked), a kernel
(`kernels/reference.py` has the one-query definition that every kernel maps), and the score and
the normaliser themselves.
"""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.arguments import (
    AttentionCall,
    Operands,
    Options,
    as_array,
    check_params,
    compute_dtype,
    floating,
)
from attention_jax.errors import unknown_name
from attention_jax.functions import numbers
from attention_jax.functions.prepared import PreparedKeys, run_prepare
from attention_jax.functions.registry import Registry
from attention_jax.functions.score import get_score
from attention_jax.functions.static_args import captures
from attention_jax.kernels.chunked import attend_chunked
from attention_jax.kernels.cost_model import auto_mesh, choose
from attention_jax.kernels.explain import Explanation, explain
from attention_jax.kernels.masking import zero_unused
from attention_jax.kernels.reference import (
    Rows,
    attend_one,
    attend_reference,
    weighted_average,
)
from attention_jax.kernels.sharding import on_each_device
from attention_jax.statistics import COLUMN_SUM, TopK
from attention_jax.types import Array, ArrayLike, Bool, Float, Int

Kernel = Callable[[Operands, Options], Rows]

AUTO = "auto"

kernels = Registry[Kernel]("implementation")
kernels.register("reference", attend_reference, function=attend_reference)
kernels.register("chunked", attend_chunked, function=attend_chunked)


class Attended(NamedTuple):
    """What one query took from the values.

    Attributes:
      context: o = Σ_i a_i v_i.
      weights: a = normalizer(score(q, k_1..k_S)).
    """

    context: Float[Array, "V"]
    weights: Float[Array, "S"]


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


def attend(
    query: Float[ArrayLike, "Q"],
    keys: Any,
    values: Float[ArrayLike, "S V"],
    *,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    where: Bool[ArrayLike, "S"] | None = None,
    params: Any = None,
    query_position: Any = 0,
    key_positions: Int[ArrayLike, "S"] | None = None,
) -> Attended:
    """Attention of one query to S keys and their values.

        e = score(q, k_1..k_S)      a = normalizer(e)      o = Σ_i a_i v_i

    Args:
      query: q.
      keys: [S, K], or what `prepare_keys` returned for this score.
      values: v_1..v_S.
      score: anything `get_score` takes.
      normalizer: anything `get_normalizer` takes.
      where: True = attend; all if not given.
      params: the score's parameters.
      query_position: for scores with positions.
      key_positions: for scores with positions; 0..S−1 if not given.

    Returns:
      Context [V] and weights [S] in the query's dtype, computed in promote(query dtype,
      float32). If there is nothing to attend to, both are 0, gradients too. A NaN or
      infinity in a masked key or value reaches neither outputs nor gradients.

    Raises:
      ValueError: a shape does not fit, or params are missing.
      TypeError: a dtype does not fit.
      UnknownNameError: an unknown score or normaliser; lists the known ones.

    Cost: the score's, the normaliser's, and 2·S·V FLOPs.
    """
    query, values = floating("query", query), floating("values", values)
    if query.ndim != 1:
        raise ValueError(f"query must be [Q], but its shape is {query.shape}")
    if values.ndim != 2:
        raise ValueError(f"values must be [S, V], but their shape is {values.shape}")
    if isinstance(keys, PreparedKeys):
        if keys.leading:
            raise ValueError(
                f"keys must be one sequence, but have leading axes {keys.leading}"
            )
    else:
        keys = floating("keys", keys)
        if keys.ndim != 2:
            raise ValueError(f"keys must be [S, K], but their shape is {keys.shape}")
    operands, options = AttentionCall(
        query[None],
        keys,
        values,
        score=score,
        normalizer=normalizer,
        params=params,
        query_positions=numbers.integers("query_position", query_position),
        key_positions=key_positions,
        return_weights=True,
    ).check()
    if where is not None:
        where = _check_where(where, operands.num_keys)
        operands = zero_unused(operands, where)
    if leading := operands.leading(options.score):
        raise ValueError(
            "attend takes one query, one sequence of keys and parameters without leading "
            f"axes, but some have {leading}; attention takes those"
        )
    operands = operands.prepared(options.score)
    assert isinstance(operands.keys, PreparedKeys)
    found = attend_one(
        options,
        {**operands.params, **operands.extras},
        operands.query[0],
        operands.keys.arrays,
        operands.values,
        where,
        operands.query_positions[0],
        operands.key_positions,
    )
    return Attended(
        found.context.astype(query.dtype), found.weights.astype(query.dtype)
    )


def _check_where(where: Any, num_keys: int) -> Array:
    where = as_array("where", where)
    if where.dtype != bool:
        raise TypeError(
            f"where must be boolean (True = attend), but its dtype is {where.dtype}"
        )
    if where.shape != (num_keys,):
        raise ValueError(f"where must be [{num_keys}], but its shape is {where.shape}")
    return where


def average(
    weights: Float[Array, "... S"], values: Float[Array, "... S V"]
) -> Float[Array, "... V"]:
    """The weighted average of S values: as wide as one value, however many there are.

        o = Σ_i a_i v_i

    A weight of 0 does not silence a NaN or an infinity in its value (0 · NaN is NaN);
    `attend` and `attention` therefore replace what is masked for every query by zeros
    before they call this.

    Args:
      weights: a, usually summing to 1.
      values: v_1..v_S; leading axes broadcast against the weights'.

    Returns:
      o, in the weights' dtype; 0 if S = 0.

    Raises:
      ValueError: the numbers of weights and values differ.
      TypeError: weights or values are not floating-point.

    Cost: 2·S·V FLOPs.
    """
    weights, values = floating("weights", weights), floating("values", values)
    if weights.ndim < 1 or values.ndim < 2 or weights.shape[-1] != values.shape[-2]:
        raise ValueError(
            "average needs weights [..., S] and values [..., S, V] with one S, "
            f"but got weights {weights.shape} and values {values.shape}"
        )
    return weighted_average(weights, values.astype(weights.dtype))


def attention(
    query: Float[ArrayLike, "... T Q"],
    keys: Any,
    values: Float[ArrayLike, "... S V"],
    *,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    params: Any = None,
    mask: Any = None,
    bias: Float[ArrayLike, "... T S"] | None = None,
    query_positions: Int[ArrayLike, "... T"] | None = None,
    key_positions: Int[ArrayLike, "... S"] | None = None,
    precision: Any = None,
    dropout_rate: float = 0.0,
    dropout_rng: Array | None = None,
    implementation: str = AUTO,
    chunk_size: int | None = None,
    return_weights: bool = False,
    statistics: Sequence[str | TopK] = (),
) -> AttentionOutput:
    """Attention of T queries to S keys and their values: `attend` for every query.

        e_ti = score(q_t, k_i) + bias_ti    a_t = normalizer(e_t)    o_t = Σ_i a_ti v_i

    Args:
      query: [..., T, Q]. `...` is any number of leading axes; those of queries, keys and
        values broadcast against each other without copying.
      keys: [..., S, K], or what `prepare_keys` returned for this score.
      values: [..., S, V].
      score: anything `get_score` takes.
      normalizer: anything `get_normalizer` takes.
      params: the score's parameters, by name. Axes before a parameter's own are leading
        axes that broadcast with the others: w [H, Q, K] with queries [B, H, T, Q] is a form
        a head.
      mask: booleans broadcastable to [..., T, S], True = attend, or a mask from
        `attention_jax.masks`.
      bias: floats broadcastable to [..., T, S], added to the scores; differentiable.
      query_positions: integers [..., T], what masks and scores by position see; 0..T−1 if
        not given. One decoding step at position t passes [t].
      key_positions: integers [..., S]; 0..S−1 if not given.
      precision: of every matrix product inside: None for JAX's default, a
        `jax.lax.Precision`, or a name such as "highest".
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
    call = AttentionCall(
        query,
        keys,
        values,
        score=score,
        normalizer=normalizer,
        params=params,
        mask=mask,
        bias=bias,
        query_positions=query_positions,
        key_positions=key_positions,
        precision=precision,
        dropout_rate=dropout_rate,
        dropout_rng=dropout_rng,
        implementation=implementation,
        chunk_size=chunk_size,
        return_weights=return_weights,
        statistics=statistics,
    )
    return dispatch(*call.check(), _check_implementation(implementation))


def _check_implementation(name: str) -> str:
    if name != AUTO and name not in kernels.entries:
        raise unknown_name("implementation", name, implementation_names())
    return name


def dispatch(
    operands: Operands, options: Options, name: str, rows: Array | None = None
) -> AttentionOutput:
    """`attend_checked`, compiled anew where what was compiled might no longer be true."""
    masking = () if operands.mask is None else operands.mask.functions()
    if captures(options.score, options.normalizer, *masking):
        return jax.jit(lambda operands, rows: _attend(operands, options, name, rows))(
            operands, rows
        )
    return attend_checked(operands, options, name, rows)


def _attend(
    operands: Operands, options: Options, name: str, rows: Array | None = None
) -> AttentionOutput:
    """The kernel's result in the query's dtype, of all queries or of those in `rows`."""
    attend_here = functools.partial(_attend_here, options, name)
    with contextlib.ExitStack() as context:
        if options.precision is not None:
            context.enter_context(options.default_precision())
        if (mesh := auto_mesh(operands)) is not None:
            # Known to be so inside loops too, where types say nothing of it.
            context.enter_context(jax.sharding.use_abstract_mesh(mesh))
        if operands.explicit_mesh is None:
            return attend_here(operands, rows)
        return AttentionOutput(*on_each_device(attend_here, operands, options, rows))


attend_checked = jax.jit(_attend, static_argnames=("options", "name"))


def _attend_here(
    options: Options, name: str, operands: Operands, rows: Array | None
) -> AttentionOutput:
    if rows is not None:
        operands = _of_queries(operands, rows)
    if name == AUTO:
        name = choose(operands, options)
    found = kernels.entries[name](operands, options)
    dtype = operands.query.dtype
    statistics = dict(found.statistics)
    if found.column_sum is not None:
        statistics[COLUMN_SUM] = found.column_sum
    return AttentionOutput(
        found.context.astype(dtype),
        None if found.weights is None else found.weights.astype(dtype),
        statistics,
    )


def attention_rows(
    query: Float[ArrayLike, "... T Q"],
    keys: Any,
    rows: Int[ArrayLike, "R"],
    *,
    score: Any = "scaled_dot",
    normalizer: Any = "softmax",
    params: Any = None,
    mask: Any = None,
    bias: Float[ArrayLike, "... T S"] | None = None,
    query_positions: Int[ArrayLike, "... T"] | None = None,
    key_positions: Int[ArrayLike, "... S"] | None = None,
) -> Float[Array, "... R S"]:
    """The weights that `attention` gives to the queries with these indices.

        a_r = normalizer(score(q_r, k_1), ..., score(q_r, k_S)),   r in rows

    A row depends on its own query only. The statistics of `attention` say which rows are
    worth a look.

    Args:
      query: as for `attention`, all T queries.
      keys: as for `attention`.
      rows: integers [R] from 0 to T − 1, the same for all leading axes; any order. Traced,
        they are not checked, but clipped to the rows that there are.
      score: as for `attention`.
      normalizer: as for `attention`.
      params: as for `attention`.
      mask: as for `attention`, of all T queries.
      bias: as for `attention`, of all T queries.
      query_positions: as for `attention`, of all T queries.
      key_positions: as for `attention`.

    Returns:
      Weights [..., R, S] in the query's dtype.

    Raises:
      ValueError: a row is not one of the T queries; and what `attention` raises.
      TypeError: rows are not integers.

    Cost: preparing the keys, and R of the T rows of `attention`'s.

        >>> attention_rows(query, keys, [0, 41], mask=masks.causal())
    """
    prepared = isinstance(keys, PreparedKeys)
    # Fewer axes than two are for the checks to refuse.
    num_keys = keys.length if prepared else (0, 0, *np.shape(keys))[-2]
    operands, options = AttentionCall(
        query,
        keys,
        np.zeros((num_keys, 0), np.float32),
        score=score,
        normalizer=normalizer,
        params=params,
        mask=mask,
        bias=bias,
        query_positions=query_positions,
        key_positions=key_positions,
        return_weights=True,
    ).check()
    chosen = _check_rows(rows, operands.num_queries)
    weights = dispatch(operands, options, AUTO, chosen).weights
    assert weights is not None
    return weights


def _check_rows(rows: Any, num_queries: int) -> Array:
    # An empty list would be floats.
    chosen = numbers.integers("rows", rows if np.size(rows) else np.zeros(0, np.int32))
    if chosen.ndim != 1:
        raise ValueError(f"rows must be [R], but the shape is {chosen.shape}")
    if not isinstance(chosen, jax.core.Tracer):
        for row in np.asarray(chosen):
            if not 0 <= row < num_queries:
                raise ValueError(
                    f"rows must be from 0 to {num_queries - 1}, the {num_queries} "
                    f"queries, but one is {row}"
                )
    return chosen


def _of_queries(operands: Operands, rows: Array) -> Operands:
    """The operands of these queries alone."""

    def queries(array: Array, axis: int) -> Array:
        return jnp.take(array, rows, axis=axis, mode="clip")

    mask, bias = operands.mask, operands.bias
    if bias is not None and bias.shape[-2] == operands.num_queries:
        bias = queries(bias, -2)
    return dataclasses.replace(
        operands,
        query=queries(operands.query, -2),
        query_positions=queries(operands.query_positions, -1),
        mask=None if mask is None else mask.of_queries(queries, operands.num_queries),
        bias=bias,
    )


def explain_attention(
    query: Any, keys: Any, values: Any, **arguments: Any
) -> Explanation:
    """What `attention` would do with the same arguments; nothing is computed.

    Args:
      query: as for `attention`; for an array a `jax.ShapeDtypeStruct` will do.
      keys: the same.
      values: the same.
      **arguments: the others of `attention`, with the params of a score that has some.

    Raises:
      TypeError: a shape is given as a tuple; and what `attention` raises for these
        arguments.

        >>> print(explain_attention(query, keys, values, score="additive", ...))
    """
    given = inspect.signature(attention).bind(query, keys, values, **arguments)
    for name in ("query", "keys", "values"):
        value = given.arguments[name]
        if isinstance(value, tuple) and all(isinstance(n, int) for n in value):
            raise TypeError(
                f"{name} must be an array or a jax.ShapeDtypeStruct, not the tuple "
                f"{value}; for a shape: jax.ShapeDtypeStruct({value}, jnp.float32)"
            )
    abstract = {
        name: value
        for name, value in given.arguments.items()
        if any(isinstance(a, jax.ShapeDtypeStruct) for a in jax.tree.leaves(value))
    }
    checked = []

    def traced(abstract: dict[str, Any]) -> AttentionOutput:
        call = AttentionCall(**given.arguments | abstract)
        name = _check_implementation(call.implementation)
        checked.append((*call.check(), name))
        return attend_checked(*checked[-1])

    outputs = jax.eval_shape(traced, abstract)
    operands, options, name = checked[0]
    chosen = choose(operands, options) if name == AUTO else name
    return explain(operands, options, chosen, outputs, by_auto=name == AUTO)


def prepare_keys(
    score: Any, keys: Float[ArrayLike, "... S K"], params: Any = None
) -> PreparedKeys:
    """The precomputed (projected) keys: all a score does that does not depend on the query.

    `attention(query, prepare_keys(score, keys, params), values, score=score,
    params=params)` equals `attention(query, keys, ...)`, so a decoder that attends at
    every step projects its keys once per sentence.

    Args:
      score: anything `get_score` takes.
      keys: [..., S, K].
      params: the score's parameters.

    Returns:
      The prepared keys, computed in promote(keys dtype, float32).

    Raises:
      ValueError: keys have fewer than two axes, or params are missing or misshapen.
      TypeError: keys are not floating-point.

    A NaN in a padded key stays a NaN in its prepared row. `attention` still silences it in
    its outputs and in the gradient of the keys, but the gradient of a parameter used
    in `prepare` sees it here: zero such keys first, or pass raw keys.
    """
    score = get_score(score)
    keys = floating("keys", keys)
    if keys.ndim < 2:
        raise ValueError(f"keys must be [..., S, K], but their shape is {keys.shape}")
    params = check_params(score, params, {"K": keys.shape[-1]})
    dtype = compute_dtype(keys)
    params = {name: value.astype(dtype) for name, value in params.items()}
    return run_prepare(score, keys.astype(dtype), params)
