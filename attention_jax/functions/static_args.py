"""Hyper-parameters compared by value, so that equal functions hit one jit cache entry."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class ArrayValue:
    """A concrete array as a hashable constant."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def __repr__(self) -> str:
        return f"<{self.dtype.lstrip('<>=|')} array {self.shape}>"

    def thaw(self) -> np.ndarray:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


Hyperparameters = tuple[tuple[str, Any], ...]


def freeze(values: Mapping[str, Any], *, owner: str) -> Hyperparameters:
    """`values` as a sorted, hashable tuple of (name, value).

    Raises:
      TypeError: a value is traced or cannot be hashed.
    """
    return tuple(
        (name, _freeze_one(name, value, owner))
        for name, value in sorted(values.items())
    )


def thaw(values: Hyperparameters) -> dict[str, Any]:
    """What `freeze` was given."""
    return {
        name: value.thaw() if isinstance(value, ArrayValue) else value
        for name, value in values
    }


def unwrap_partial(function: functools.partial) -> tuple[Callable, dict[str, Any]]:
    """A keyword-only `functools.partial` as its function and its keywords.

    Raises:
      ValueError: it binds positional arguments, which are data.
    """
    if function.args:
        raise ValueError(
            f"{function!r} binds positional arguments; bind hyper-parameters by keyword"
        )
    return function.func, dict(function.keywords)


def describe(name: str, hyperparameters: Hyperparameters) -> str:
    """`name`, or `name(a=1, b=2)` if it has hyper-parameters."""
    if not hyperparameters:
        return name
    inside = ", ".join(f"{k}={v}" for k, v in hyperparameters)
    return f"{name}({inside})"


def copy_identity(wrapper: object, function: Callable) -> None:
    """What `functools.wraps` does, for a frozen dataclass."""
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        value = getattr(function, attribute, None)
        object.__setattr__(wrapper, attribute, value)
    object.__setattr__(wrapper, "__wrapped__", function)


def _freeze_one(name: str, value: Any, owner: str) -> Any:
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"hyper-parameter {name!r} of {owner} is traced; it must be a constant. "
            "To differentiate or vary it under jit, declare it as a parameter."
        )
    if isinstance(value, (np.ndarray, jax.Array)):
        array = np.asarray(value)
        return ArrayValue(array.dtype.str, array.shape, array.tobytes())
    if callable(value) and isinstance(value, functools.partial):
        function, keywords = unwrap_partial(value)
        return _Partial(function, freeze(keywords, owner=owner))
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"hyper-parameter {name!r} of {owner} must be hashable (a number, a string, "
            f"a tuple, a function) or an array, not {type(value).__name__}"
        ) from None
    return value


@dataclasses.dataclass(frozen=True)
class _Partial:
    function: Callable
    keywords: Hyperparameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **{**thaw(self.keywords), **kwargs})
