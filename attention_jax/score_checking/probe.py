"""Derivatives of Σ_i c_i e_i at a point, the factors c fixed and generic."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.score_checking.point import Data, Point
from attention_jax.types import Array

Scores = Callable[[Point], Array]


class Gradient(NamedTuple):
    """Σ_i c_i e_i over the finite scores, and its gradient by query, keys and params."""

    total: Array
    gradient: Data


def total(scores: Scores, point: Point, data: Data) -> Array:
    """Σ_i c_i e_i over the finite scores."""
    found = scores(point.at(data))
    factors = np.random.default_rng(0).uniform(1, 2, found.shape[0])
    kept = jnp.where(jnp.isfinite(found), found, jnp.zeros((), found.dtype))
    return jnp.sum(kept * jnp.asarray(factors, found.dtype))


def first_order(scores: Scores, point: Point) -> Gradient:
    """By reverse mode."""
    return Gradient(
        *jax.value_and_grad(lambda data: total(scores, point, data))(point.data)
    )


def second_order(scores: Scores, point: Point, direction: Data) -> Gradient:
    """How `first_order` changes along a direction: forward mode over reverse mode."""

    def derivatives(data: Data) -> Gradient:
        return first_order(scores, point.at(data))

    return jax.jvp(derivatives, (point.data,), (direction,))[1]


def forward_mode(scores: Scores, point: Point) -> None:
    """Raises what forward mode raises; runs nothing."""

    def along(data: Data) -> Any:
        return jax.jvp(lambda d: total(scores, point, d), (data,), (data,))

    # Tracing alone does not find a custom_vjp.
    jax.jit(along).lower(point.data)


def random_direction(data: Data, *, seed: int, part: str | None = None) -> Data:
    """Standard normal in every part, or in one and zero in the others."""
    rng = np.random.default_rng(seed)
    query, keys, params = data

    def draw(name: str, value: Any) -> Any:
        drawn = jnp.asarray(rng.standard_normal(value.shape), value.dtype)
        return drawn if part in (None, name) else jnp.zeros_like(drawn)

    return (
        draw("query", query),
        draw("keys", keys),
        {name: draw(name, value) for name, value in params.items()},
    )


def moved(point: Point, direction: Data, step: float) -> Point:
    """The point, `step` along the direction."""
    return point.at(jax.tree.map(lambda x, u: x + step * u, point.data, direction))
