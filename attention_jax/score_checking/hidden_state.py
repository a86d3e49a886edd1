"""State that a function keeps outside its arguments, seen by looking before and after."""

import inspect
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from attention_jax.functions.score import Score

SIMPLE = (bool, int, float, complex, str, bytes, type(None))
CONTAINERS = (list, tuple, dict, set)


def functions(score: Score) -> Iterator[Callable[..., Any]]:
    """The user's functions in a score: it, its `prepare`, those bound to it, and theirs."""
    yield score.function
    if score.prepare is not None:
        yield score.prepare
    for _, value in score.hyper:
        if isinstance(value, Score):
            yield from functions(value)
        elif isinstance(value, types.FunctionType):
            yield value


def snapshot(score: Score) -> dict[str, str]:
    """What the score's functions can see and could have changed, by name.

    Seen are the variables outside that their code names: numbers, texts, containers,
    NumPy arrays and the attributes of the user's objects.
    """
    found = {
        "NumPy's global random state": repr(np.random.get_state(legacy=False)),
        "Python's global random state": str(hash(random.getstate())),
    }
    for function in functions(score):
        values = _visible(function)
        shown = {name: _shown(value) for name, value in values.items()}
        found |= {name: text for name, text in shown.items() if text is not None}
    return found


def _visible(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function sees beside its arguments, by name."""
    function = inspect.unwrap(function)
    values = {}
    if not isinstance(function, types.FunctionType):
        # A method's object, or an object that is called like a function.
        owner = getattr(function, "__self__", function)
        values[f"the {type(owner).__name__} that it belongs to"] = owner
        function = getattr(function, "__func__", type(function).__call__)
    try:
        outside = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # Written in C.
        return values
    for name, value in outside.globals.items():
        values[f"the global {name}"] = value
    for name, value in outside.nonlocals.items():
        values[f"the outer variable {name}"] = value
    return values


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The names whose values differ."""
    return [name for name, value in after.items() if before.get(name, value) != value]


def _shown(value: Any) -> str | None:
    """A text that changes with the value; None for what is not looked into."""
    if isinstance(value, SIMPLE + CONTAINERS):
        return repr(value)
    if isinstance(value, np.ndarray):
        return str(hash(value.tobytes()))
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    # Modules, classes and jax's own objects are not the user's state.
    if isinstance(value, Score | type | types.ModuleType) or hasattr(value, "aval"):
        return None
    try:
        return repr(vars(value))
    except Exception:  # noqa: BLE001 - no attributes, or ones that cannot be shown
        return None
