"""Our own argument errors: they name the argument, what was expected and what came."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions.params import AXES
from attention_jax.functions.score import Score
from attention_jax.masks import wide
from attention_jax.types import Array


def floating(name: str, value: Any) -> Array:
    """`value` as a JAX array.

    Raises:
      TypeError: it is no array, or not of a floating-point dtype.
    """
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating-point, but the dtype is {array.dtype}"
        )
    return array


def as_array(name: str, value: Any) -> Array:
    """`value` as a JAX array.

    Raises:
      TypeError: it holds something other than numbers and booleans.
      ValueError: its rows are of unequal length.
    """
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, str) or value is None or isinstance(value, Mapping):
        raise TypeError(f"{name} must be an array, not {type(value).__name__}")
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        # Strings, objects, dates (TypeError) and ragged lists (ValueError).
        came = f"dtype {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
        raise type(error)(
            f"{name} must be an array of numbers, got {came:.200}"
        ) from error


def integers(name: str, value: Any) -> Array:
    """`value` as a JAX array of integers.

    Raises:
      TypeError: its dtype is not an integer's.
    """
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, but the dtype is {array.dtype}")
    return wide(array)


def compute_dtype(query: Array) -> Any:
    """promote(query dtype, float32): what everything is computed in."""
    # Spelt out, since promote_types refuses mixed types under strict dtype promotion.
    return jnp.dtype(jnp.float64 if query.dtype == jnp.float64 else jnp.float32)


def check_params(
    score: Score,
    params: Any,
    *,
    query_size: int | None = None,
    key_size: int | None = None,
) -> dict[str, Array]:
    """The score's parameters as arrays, in the order of their declaration.

    Raises:
      ValueError: one is missing, unknown or misshapen.
      TypeError: params is not a mapping, or one is not floating-point.
    """
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise TypeError(
            f"params must be a dict of arrays or None, not {type(params).__name__}"
        )
    names = score.param_names
    missing = [name for name in names if name not in params]
    extra = sorted(map(str, set(params) - set(names)))
    if missing:
        unknown = f"; unknown: {', '.join(extra)}" * bool(extra)
        raise ValueError(
            f"the score {score.name!r} needs the params {', '.join(names)}; "
            f"missing: {', '.join(missing)}{unknown}. init_score_params makes them."
        )
    if extra:
        takes = ", ".join(names) or "none"
        raise ValueError(
            f"unknown params for the score {score.name!r}: {', '.join(extra)}; "
            f"it takes {takes}"
        )
    arrays = {name: floating(f"params[{name!r}]", params[name]) for name in names}
    sizes = {"Q": query_size, "K": key_size}
    for name, param in score.params:
        _check_param_shape(score, name, param.axes, arrays[name], sizes)
    return arrays


def _check_param_shape(
    score: Score, name: str, axes: str, array: Array, sizes: dict[str, int | None]
) -> None:
    """Binds each axis letter to one length over all parameters."""
    if array.ndim != len(axes):
        raise ValueError(
            f"params[{name!r}] of the score {score.name!r} must have the axes "
            f"[{', '.join(axes)}], but its shape is {array.shape}"
        )
    for axis, (letter, length) in enumerate(zip(axes, array.shape, strict=True)):
        expected = sizes.get(letter)
        if expected is None:
            sizes[letter] = length
        elif length != expected:
            raise ValueError(
                f"params[{name!r}] of the score {score.name!r}: axis {axis} is "
                f"{letter} ({AXES[letter][0]}) and must be {expected}, "
                f"but the shape is {array.shape}"
            )


def broadcast_leading(**leading: tuple[int, ...]) -> tuple[int, ...]:
    """The common leading shape of the named arguments.

    Raises:
      ValueError: they do not broadcast; names every argument's leading axes.
    """
    try:
        return jnp.broadcast_shapes(*leading.values())
    except ValueError:
        listed = ", ".join(f"{name} {shape}" for name, shape in leading.items())
        raise ValueError(
            f"the leading axes do not broadcast against each other: {listed}"
        ) from None


def check_rate(dropout_rate: Any, dropout_rng: Any) -> float:
    """The dropout rate as a Python float.

    Raises:
      TypeError: it is traced or no number.
      ValueError: it is outside [0, 1), or a rate without `dropout_rng`.
    """
    if isinstance(dropout_rate, jax.core.Tracer):
        raise TypeError("dropout_rate must be a Python number, not a traced array")
    if isinstance(dropout_rate, bool) or not isinstance(
        dropout_rate, int | float | np.number
    ):
        raise TypeError(f"dropout_rate must be a number, not {dropout_rate!r}")
    if not 0 <= dropout_rate < 1:
        raise ValueError(f"dropout_rate must be in [0, 1), not {dropout_rate}")
    if dropout_rate > 0 and dropout_rng is None:
        raise ValueError("dropout_rate > 0 needs dropout_rng, a PRNG key")
    return float(dropout_rate)
