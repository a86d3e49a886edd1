"""The score under check: its arrays, and the ways to call it that checks share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions.params import AXES
from attention_jax.functions.score import Score, init_score_params
from attention_jax.score_checking import probe, programs
from attention_jax.score_checking.point import Point
from attention_jax.score_checking.quick_jit import quick_jit
from attention_jax.types import Array

# Primes, and no feature size among them, so that no axis passes for another.
LENGTHS = (1, 7, 11)
LENGTH = 7


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The feature sizes: Q, K, A and V."""

    query_size: int
    key_size: int
    alignment_size: int
    value_size: int

    def of(self, axes: str) -> tuple[int, ...]:
        """The lengths of the axes that the letters stand for."""
        return tuple(getattr(self, AXES[letter][1]) for letter in axes)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A score and what is needed to try it.

    Attributes:
      reference: what the user named it by.
      score: what that stands for.
      sizes: what it is tried at. cost_sizes: what its cost is told at.
      seed: of all arrays.
    """

    reference: Any
    score: Score
    sizes: Sizes
    cost_sizes: Sizes
    seed: int

    def initial_params(self, rng: Array) -> dict[str, Array]:
        """What the score's parameters start as, in float32."""
        sizes = dataclasses.asdict(self.sizes)
        return init_score_params(rng, self.score, **sizes, dtype=jnp.float32)

    @functools.cached_property
    def initial(self) -> dict[str, Array]:
        """`initial_params` for the subject's seed."""
        if not self.score.params:
            return {}
        rng = jax.random.key(self.seed)
        try:
            return quick_jit(self.initial_params)(rng)
        except Exception:  # noqa: BLE001 - an initialiser need not be traceable
            return self.initial_params(rng)

    @functools.cached_property
    def params(self) -> dict[str, Array]:
        """Generic parameters: initial ones may be zeros or ones, moved off them."""
        rng = np.random.default_rng(self.seed)
        return {
            name: jnp.asarray(
                np.asarray(value, np.float64)
                + 0.1 * rng.standard_normal(np.shape(value))
            )
            for name, value in self.initial.items()
        }

    def point(self, length: int = LENGTH, *, draw: int = 0) -> Point:
        """Generic float64 arguments; a shorter one's keys are the first of a longer one."""
        rng = np.random.default_rng([self.seed, draw])
        query = rng.standard_normal(self.sizes.query_size)
        keys = rng.standard_normal((length, self.sizes.key_size))
        return Point(
            jnp.asarray(query),
            jnp.asarray(keys),
            self.params,
            jnp.asarray(2),
            jnp.arange(length),
            # Of the longest, as if the keys beyond a shorter one were masked.
            jnp.asarray(max(LENGTHS)),
        )

    def prepared(self, point: Point) -> Any:
        """What the score receives as keys."""
        if self.score.prepare is None:
            return point.keys
        return self.score.prepare(point.keys, **point.params)

    def call(self, point: Point) -> Any:
        """The scores, [S]; whatever the score returns, unchecked."""
        arguments = dict(point.params)
        if self.score.positions:
            names = ("query_position", "key_positions", "key_length")
            arguments |= {name: getattr(point, name) for name in names}
        return self.score(point.query, self.prepared(point), **arguments)

    def shape(self, length: int = LENGTH, dtype: Any = jnp.float64) -> Any:
        """What the score would return for `length` keys of a dtype: shape and dtype."""
        sizes, whole = self.sizes, jax.dtypes.canonicalize_dtype(int)
        struct = jax.ShapeDtypeStruct
        point = Point(
            struct((sizes.query_size,), dtype),
            struct((length, sizes.key_size), dtype),
            param_structs(self.score, sizes, dtype),
            struct((), whole),
            struct((length,), whole),
            struct((), whole),
        )
        # A fresh function, so that it is traced and not remembered.
        return jax.eval_shape(lambda point: self.call(point), point)

    def jaxpr(self, point: Point) -> Any:
        """The program of one call, traced anew."""
        return jax.make_jaxpr(lambda point: self.call(point))(point)

    @functools.cached_property
    def precision(self) -> np.dtype:
        """The narrowest floating-point type that it computes float64 arguments in."""
        return programs.narrowest_float(self.jaxpr(self.point()))

    @functools.cached_property
    def traces(self) -> list[Score]:
        """The score, once for each time that `compiled` traced it."""
        return []

    @functools.cached_property
    def _jitted(self) -> Callable[..., Array]:
        def scores(point: Point, *, score: Score) -> Array:
            self.traces.append(score)
            return dataclasses.replace(self, score=score).call(point)

        return quick_jit(scores, static_argnames="score")

    def compiled(self, point: Point, score: Score | None = None) -> Array:
        """`call`, jitted: compiled once for each length and score."""
        return self._jitted(point, score=score or self.score)

    @functools.cached_property
    def gradient(self) -> Callable[[Point], probe.Gradient]:
        """The derivatives at a point, jitted."""
        return quick_jit(functools.partial(probe.first_order, self.call))


def param_structs(score: Score, sizes: Sizes, dtype: Any) -> dict[str, Any]:
    """The shapes that a score declares for its parameters."""
    return {
        name: jax.ShapeDtypeStruct(sizes.of(param.axes), dtype)
        for name, param in score.params
    }
