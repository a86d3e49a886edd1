"""Combinators: functions that take a score and return a score.

The result keeps the inner score's parameters, `prepare` and positions, so that it can be used
wherever a score can. To write one, see `wrap`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions.score import Score, call_inner, wrap


def soft_cap(score: Any, cap: float) -> Score:
    """`score`, bent smoothly into (−cap, cap).

        e' = cap · tanh(e / cap)

    As cap grows it becomes `score`.

    Args:
      score: anything `get_score` takes; its parameters and positions are kept.
      cap: the bound, positive.

    Raises:
      ValueError: cap is not positive.
      TypeError: it is not a number.

    Source: Gemma 2, arXiv:2408.00118.
    """
    if not _number("soft_cap: cap", cap) > 0:
        raise ValueError(f"soft_cap: cap must be positive, not {cap}")
    return wrap(score, _soft_capped, cap=float(cap))


def with_alibi(score: Any, slope: float) -> Score:
    """`score` less a penalty that grows with distance.

        e'_i = e_i − slope · |query_position − p_i|

    With slope 0 it is `score`.

    Args:
      score: anything `get_score` takes; its parameters are kept.
      slope: per position; one head's m in the paper.

    Raises:
      TypeError: slope is not a number.

    Source: Press, Smith and Lewis 2022, arXiv:2108.12409.
    """
    slope = _number("with_alibi: slope", slope)
    return wrap(score, _with_alibi, positions=True, slope=slope)


def _number(name: str, value: Any) -> float:
    """`value` as a float; TypeError if it is no constant number."""
    if isinstance(value, jax.Array | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


def _soft_capped(query, keys, *, score, cap, **arguments):
    return cap * jnp.tanh(call_inner(score, query, keys, arguments) / cap)


def _with_alibi(query, keys, *, score, slope, **arguments):
    scores = call_inner(score, query, keys, arguments)
    distances = jnp.abs(arguments["query_position"] - arguments["key_positions"])
    return scores - slope * distances.astype(scores.dtype)
