"""Combinators: functions that take a score and return a score.

The result keeps the inner score's parameters, `prepare` and positions, so that it can be used
wherever a score can. To write one, see `wrap`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions import numbers
from attention_jax.functions.score import Score, call_inner, wrap
from attention_jax.types import Array


def soft_cap(score: Any, cap: Any) -> Score:
    """`score`, bent smoothly into (−cap, cap).

        e' = cap · tanh(e / cap)

    As cap grows it becomes `score`.

    Args:
      score: anything `get_score` takes; its parameters and positions are kept.
      cap: the bound, positive: a number, or an array whose axes broadcast with the
        leading axes of the call, such as [H] for one a head.

    Raises:
      ValueError: cap is not positive or not finite.
      TypeError: it is not a number, or traced.

    Source: Gemma 2, arXiv:2408.00118.
    """
    cap = numbers.each(numbers.positive, "soft_cap: cap", cap)
    return wrap(score, _soft_capped, block_sparse=True, numbers={"cap": cap})


def with_alibi(score: Any, slope: Any) -> Score:
    """`score` less a penalty that grows with distance.

        e'_i = e_i − slope · |query_position − p_i|

    With slope 0 it is `score`.

    Args:
      score: anything `get_score` takes; its parameters are kept.
      slope: per position, m in the paper: a number, or an array whose axes broadcast with
        the leading axes of the call, such as [H] for one a head.

    Raises:
      TypeError: slope is not a number, or traced.
      ValueError: it is not finite.

    Source: Press, Smith and Lewis 2022, arXiv:2108.12409.
    """
    slope = numbers.each(numbers.finite, "with_alibi: slope", slope)
    return wrap(
        score, _with_alibi, positions=True, block_sparse=True, numbers={"slope": slope}
    )


def from_score_mod(score_mod: Callable[..., Array], score: Any = "scaled_dot") -> Score:
    """`score`, changed by a function as torch's flex_attention takes it.

        e'_i = score_mod(e_i, b, h, q_idx, kv_idx)

    Args:
      score_mod: of five scalars, in jax.numpy: the score, the index on the leading axis
        before the last (batch; 0 if there is none) and on the last (head; 0 likewise), the
        query's position and the key's. Arrays that it reads, such as slopes or a table of
        biases by distance, may be captured, and are differentiated.
      score: anything `get_score` takes; its parameters are kept.

    Raises:
      TypeError: score_mod is not a function.

    Source: Dong et al. 2024, arXiv:2412.05496.
    """
    if not callable(score_mod):
        raise TypeError(f"score_mod must be a function, not {score_mod!r}")
    return wrap(
        score,
        _score_modified,
        positions=True,
        block_sparse=True,
        leading_indices=True,
        score_mod=score_mod,
    )


def _soft_capped(query, keys, *, score, cap, **arguments):
    scores = call_inner(score, query, keys, arguments)
    # Neither cap nor 1 / cap may be 0 or infinite in the scores' dtype; and with the largest,
    # small scores must not vanish.
    info = jnp.finfo(scores.dtype)
    least, most = 4 * float(info.smallest_normal), 2.0 ** (info.maxexp * 3 // 4)
    cap = jnp.asarray(numbers.within(cap, scores.dtype), scores.dtype)
    cap = jnp.clip(cap, least, most)
    return cap * jnp.tanh(scores / cap)


def _with_alibi(query, keys, *, score, slope, **arguments):
    scores = call_inner(score, query, keys, arguments)
    ends = arguments["query_position"], arguments["key_positions"]
    # A difference of integers may wrap, that of unsigned ones, least from largest, not.
    unsigned = jnp.uint64 if ends[0].dtype.itemsize == 8 else jnp.uint32
    distances = jnp.maximum(*ends).astype(unsigned) - jnp.minimum(*ends).astype(
        unsigned
    )
    slope = jnp.asarray(numbers.within(slope, scores.dtype), scores.dtype)
    return scores - slope * distances.astype(scores.dtype)


def _score_modified(query, keys, *, score, score_mod, leading_indices, **arguments):
    inner = dict(arguments, leading_indices=leading_indices)
    scores = call_inner(score, query, keys, inner)
    batch, head = (0, 0, *leading_indices)[-2:]

    def one(one_score, key_position):
        found = score_mod(
            one_score, batch, head, arguments["query_position"], key_position
        )
        if not isinstance(found, jax.Array | np.ndarray | np.generic | float | int):
            raise TypeError(
                "score_mod must return one number, the new score, but returned "
                f"{type(found).__name__}"
            )
        if jnp.shape(found) != () or jnp.result_type(found) == bool:
            raise TypeError(
                "score_mod must return one number, the new score, but returned "
                f"{jnp.result_type(found)} of shape {list(jnp.shape(found))}"
            )
        return found

    return jax.vmap(one)(scores, arguments["key_positions"]).astype(scores.dtype)
