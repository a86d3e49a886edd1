"""Numbers that a user gives, checked: constants and integers. Errors name the argument."""

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.types import Array


def finite(name: str, value: Any) -> float:
    """`value` as a float.

    Raises:
      TypeError: it is not a constant number.
      ValueError: it is NaN or infinite.
    """
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {number}")
    return number


def positive(name: str, value: Any) -> float:
    """`value` as a float above 0; errors as `finite`."""
    number = _number(name, value)
    if not number > 0:
        raise ValueError(f"{name} must be positive, not {value}")
    return finite(name, number)


def each(check: Callable[[str, Any], float], name: str, values: Any) -> Any:
    """`check(name, value)` of a number, or of each in an array or list: float64 [...].

    Raises:
      TypeError: they are no array; and what `check` raises.
    """
    if isinstance(values, jax.core.Tracer):
        return check(name, values)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        # Of unequal lengths, or with traced numbers in it.
        raise TypeError(
            f"{name} must be a number or an array of numbers, got {values!r:.200}"
        ) from error
    if not array.ndim:
        return check(name, values)
    flat = [check(name, value) for value in array.ravel()]
    return np.array(flat, np.float64).reshape(array.shape)


def _number(name: str, value: Any) -> float:
    if isinstance(value, jax.Array | np.ndarray) and value.ndim == 0:
        value = value if isinstance(value, jax.core.Tracer) else value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if isinstance(value, np.complexfloating):
        raise TypeError(f"{name} must be a real number, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int.

    Raises:
      TypeError: it is not an integer.
      ValueError: it is below `least`.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, not {value!r}") from error
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def within(value: Any, dtype: Any) -> Any:
    """Finite constants, or the largest of their sign that the dtype has."""
    limit = float(jnp.finfo(dtype).max)
    return value if isinstance(value, jax.Array) else np.clip(value, -limit, limit)


def normal(value: float, dtype: Any) -> float:
    """`value`, moved into the range where it and its reciprocal are normal numbers."""
    least = 4 * float(jnp.finfo(dtype).smallest_normal)
    return min(max(value, least), 1 / least)


def integers(name: str, values: Any, *, counts: bool = False) -> Array:
    """`values` as an array of signed integers, int32 or wider, that are what was given.

    Args:
      name: of the argument.
      values: integers of any kind.
      counts: whether they are counts: at least 0, and one that is too large for the widest
        integers there are, int32 unless 64-bit types are enabled, is the largest of them.

    Raises:
      TypeError: they are not integers.
      ValueError: one does not fit, or a count is negative. (The values of a JAX array are not looked at: that
        would wait for the device. What is too large in an unsigned one is clipped.)
    """
    if not isinstance(values, jax.Array):
        values = _from_host(name, values, counts)
    dtype = values.dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, but the dtype is {dtype}")
    if jnp.issubdtype(dtype, jnp.signedinteger):
        return values if dtype.itemsize >= 4 else values.astype(jnp.int32)
    signed = jnp.int64 if dtype.itemsize == 8 else jnp.int32
    if dtype.itemsize >= 4:
        values = jnp.minimum(values, jnp.array(jnp.iinfo(signed).max, dtype))
    return values.astype(signed)


def _from_host(name: str, values: Any, counts: bool) -> Array:
    """Integers outside of JAX, in the widest dtype if theirs is unsigned or not there."""
    wrong = f"{name} must be integers, got {values!r:.200}"
    try:
        given = np.asarray(values)
    except (TypeError, ValueError):
        # A list with traced numbers in it.
        try:
            return jnp.asarray(values)
        except (TypeError, ValueError) as error:
            raise TypeError(wrong) from error
    if given.dtype == object and all(type(x) is int for x in given.flat):
        kind = "i"
    else:
        kind = given.dtype.kind
    if kind not in "iu":
        if kind in "fcb":
            dtype = jax.dtypes.canonicalize_dtype(given.dtype.newbyteorder("="))
            wrong = f"{name} must be integers, but the dtype is {dtype}"
        raise TypeError(wrong)
    widest = jax.dtypes.canonicalize_dtype(np.int64)
    limits = np.iinfo(widest)
    if given.size and counts and given.min() < 0:
        raise ValueError(f"{name} must be at least 0, but one is {given.min()}")
    if given.size and not limits.min <= given.min() <= given.max() <= limits.max:
        if not counts:
            out = given.max() if given.max() > limits.max else given.min()
            hint = "; jax_enable_x64 has wider ones" * (widest != np.int64)
            raise ValueError(f"{name} must fit {widest}, but one is {out}{hint}")
        given = np.asarray(np.minimum(given, limits.max))
    narrow = given.dtype.kind == "i" and given.dtype.itemsize <= 4
    return jnp.asarray(given.astype(np.int32 if narrow else widest))
