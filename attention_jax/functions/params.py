"""Declaring and initialising the learned parameters of a score."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.functions import numbers
from attention_jax.types import Array

Initializer = Callable[[Array, tuple[int, ...], jnp.dtype], Array]

# What each letter of a declaration stands for, and the argument that sets it.
AXES = {
    "Q": ("query features", "query_size"),
    "K": ("key features", "key_size"),
    "V": ("value features", "value_size"),
    "A": ("alignment features", "alignment_size"),
}


def fan_in_normal(rng: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Normal with variance 1 / (first axis): a projection that keeps unit variance."""
    fan_in = shape[0] if shape else 1
    return _normal(rng, shape, dtype, fan_in)


def fan_out_normal(rng: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Normal with variance 1 / (last axis): the same for a matrix applied from the left."""
    fan_in = shape[-1] if shape else 1
    return _normal(rng, shape, dtype, fan_in)


def bilinear_normal(rng: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Normal with variance 1 / (product of the axes).

    For a form that sums over both of its axes: unit-variance features on either side then
    give unit-variance scores.
    """
    return _normal(rng, shape, dtype, math.prod(shape))


def _normal(rng: Array, shape: tuple[int, ...], dtype: Any, terms: int) -> Array:
    # In bfloat16 JAX draws one of 128 numbers, whose mean is below 0
    # (findings/jax_bfloat16_normal_is_biased.sh).
    wide = dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.float32
    drawn = jax.random.normal(rng, shape, wide) / math.sqrt(max(terms, 1))
    return drawn.astype(dtype)


@dataclasses.dataclass(frozen=True)
class log_constant:
    """The logarithm of `value`: how a positive scalar is stored. Equal values are equal."""

    value: float

    def __post_init__(self):
        numbers.positive("log_constant: value", self.value)

    def __call__(self, rng: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
        return jnp.full(shape, math.log(self.value), dtype)


@dataclasses.dataclass(frozen=True)
class Param:
    """A learned parameter: one axis letter per dimension, and how it starts.

    `Param("QA")` is a [Q, A] matrix, `Param("")` a scalar. The letters are Q, K, V
    and A; see `attention_jax.types`. `init` is (rng, shape, dtype) -> array, such as
    those in `jax.nn.initializers`; normal with variance 1 / (first axis) if not given.
    """

    axes: str
    init: Initializer = fan_in_normal

    def __post_init__(self):
        unknown = sorted(set(self.axes) - set(AXES))
        if unknown:
            raise ValueError(
                f"axes {self.axes!r} has the unknown letter {unknown[0]!r}; "
                f"a parameter's axes are any of {', '.join(AXES)}"
            )


def declare(params: Mapping[str, str | Param] | None) -> tuple[tuple[str, Param], ...]:
    """`{"w": "QA"}` as a hashable declaration.

    Raises:
      TypeError: it is no mapping from names to axis letters or `Param`.
    """
    if not isinstance(params or {}, Mapping):
        raise TypeError(
            'params must map names to axis letters, such as {"w": "QK"}, '
            f"not be {params!r}"
        )
    return tuple(
        (name, declared if isinstance(declared, Param) else Param(declared))
        for name, declared in (params or {}).items()
    )


def initialize(
    rng: Array,
    declaration: tuple[tuple[str, Param], ...],
    sizes: Mapping[str, int],
    dtype: jnp.dtype,
) -> dict[str, Array]:
    """One array per declared parameter; `sizes` maps axis letters to lengths."""
    rngs = jax.random.split(rng, len(declaration)) if declaration else ()
    return {
        name: param.init(one, tuple(sizes[a] for a in param.axes), dtype)
        for (name, param), one in zip(declaration, rngs, strict=True)
    }
