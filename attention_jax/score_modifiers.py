"""Combinators: functions that take a score and return a score.

The result keeps the inner score's parameters, `prepare` and positions, so that it can be used
wherever a score can. To write one, see `wrap`.
"""

from typing import Any

import jax.numpy as jnp

from attention_jax.functions import numbers
from attention_jax.functions.score import Score, call_inner, wrap


def soft_cap(score: Any, cap: float) -> Score:
    """`score`, bent smoothly into (−cap, cap).

        e' = cap · tanh(e / cap)

    As cap grows it becomes `score`.

    Args:
      score: anything `get_score` takes; its parameters and positions are kept.
      cap: the bound, positive.

    Raises:
      ValueError: cap is not positive or not finite.
      TypeError: it is not a number.

    Source: Gemma 2, arXiv:2408.00118.
    """
    return wrap(score, _soft_capped, cap=numbers.positive("soft_cap: cap", cap))


def with_alibi(score: Any, slope: float) -> Score:
    """`score` less a penalty that grows with distance.

        e'_i = e_i − slope · |query_position − p_i|

    With slope 0 it is `score`.

    Args:
      score: anything `get_score` takes; its parameters are kept.
      slope: per position; one head's m in the paper.

    Raises:
      TypeError: slope is not a number.
      ValueError: it is not finite.

    Source: Press, Smith and Lewis 2022, arXiv:2108.12409.
    """
    slope = numbers.finite("with_alibi: slope", slope)
    return wrap(score, _with_alibi, positions=True, slope=slope)


def _soft_capped(query, keys, *, score, cap, **arguments):
    return cap * jnp.tanh(call_inner(score, query, keys, arguments) / cap)


def _with_alibi(query, keys, *, score, slope, **arguments):
    scores = call_inner(score, query, keys, arguments)
    distances = jnp.abs(arguments["query_position"] - arguments["key_positions"])
    return scores - slope * distances.astype(scores.dtype)
