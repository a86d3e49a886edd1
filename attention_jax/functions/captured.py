"""Whether a function reads arrays that it is not passed: captured, global, or an object's own."""

import functools
import types
from typing import Any

import jax
import numpy as np


def captures(function: Any) -> bool:
    """Whether calling `function` again may give another result for equal arguments.

    A compiled program holds an array that a function captured as it was: the function may
    since have been given another. Looked at are closures, defaults, globals and attributes,
    also of the functions found there; libraries' functions are taken not to.
    """
    return _captures(function, set())


def _captures(value: Any, seen: set[int]) -> bool:
    if isinstance(value, jax.Array | np.ndarray):
        return True
    if id(value) in seen or isinstance(value, type | types.ModuleType):
        return False
    seen.add(id(value))
    if isinstance(value, functools.partial):
        parts = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, types.MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, types.FunctionType):
        if value.__module__.partition(".")[0] in _LIBRARIES:
            return False
        names = value.__code__.co_names
        parts = [
            *_contents(value.__closure__ or ()),
            *(value.__defaults__ or ()),
            *(value.__kwdefaults__ or {}).values(),
            *(value.__globals__[n] for n in names if n in value.__globals__),
        ]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    elif isinstance(value, dict):
        parts = list(value.values())
    else:
        # Objects, such as modules with parameters; what has slots only holds no arrays of ours.
        parts = list(getattr(value, "__dict__", {}).values())
    return any(_captures(part, seen) for part in parts)


_LIBRARIES = {"attention_jax", "jax", "jaxlib", "numpy", "optax", "functools"}


def _contents(cells: tuple[types.CellType, ...]) -> list[Any]:
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:
            # Not yet filled, as in a function that is still being defined.
            continue
    return found
