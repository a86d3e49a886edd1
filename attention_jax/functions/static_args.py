"""What a compiled attention is specialised on: functions and numbers, compared by value.

Equal functions so hit one entry of a jit cache; what a function captured has no value to compare.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import numpy as np

from attention_jax.functions import import_reference


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


class ByIdentity:
    """Equality of frozen dataclasses that tells 1 from True and 0.0 from −0.0, nested too."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and identity(self) == identity(other)

    def __hash__(self) -> int:
        return hash(identity(self))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    def __reduce__(self) -> tuple:
        """Pickles functions by name, also those whose name is that of this object."""
        made: Any = self
        fields = (getattr(made, f.name) for f in dataclasses.fields(made))
        return _restored, (type(self), *map(_by_reference, fields))


@dataclasses.dataclass(frozen=True)
class _Reference:
    text: str


def _by_reference(value: Any) -> Any:
    """The reference by which a function is found again; others, lambdas too, as they are."""
    if not isinstance(value, types.FunctionType):
        return value
    reference = import_reference.reference_to(value)
    return value if reference is None else _Reference(reference)


def _loaded(value: Any) -> Any:
    if not isinstance(value, _Reference):
        return value
    found = import_reference.load_reference("function", value.text)
    return getattr(found, "function", found) if isinstance(found, ByIdentity) else found


def _restored(cls: type, function: Any, *fields: Any) -> Any:
    """The object, the registered one if it is equal."""
    made = cls(_loaded(function), *map(_loaded, fields))
    if isinstance(function, _Reference):
        registered = import_reference.load_reference("function", function.text)
        return registered if registered == made else made
    return made


def identity(value: Any) -> Any:
    """What is equal for values that no function can tell from each other, and for no others."""
    if isinstance(value, ByIdentity):
        # Computed once: every call of a jitted function compares its static arguments.
        known = value.__dict__.get("_identity")
        if known is None:
            known = type(value), _fields(value)
            object.__setattr__(value, "_identity", known)
        return known
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, float):
        return type(value), value.hex()
    if isinstance(value, tuple):
        return type(value), tuple(map(identity, value))
    if isinstance(value, frozenset):
        return type(value), frozenset(map(identity, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # NaN is not equal to itself, so the fields alone, unless it says what is equal.
        own = None if value.__dataclass_params__.eq else value
        return type(value), own, _fields(value)
    return type(value), value


def _fields(value: Any) -> tuple[Any, ...]:
    fields = dataclasses.fields(value)
    return tuple(identity(getattr(value, f.name)) for f in fields if f.compare)


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


def captures(*functions: Any) -> bool:
    """Whether calling one of the functions again may give another result for equal arguments.

    A compiled program holds an array that a function captured as it was: the function may
    since have been given another. Looked at are closures, defaults, globals and attributes,
    also of modules, classes and functions found there; libraries' functions are taken not to.
    """
    return _captures(functions, set())


def _captures(value: Any, seen: set[int]) -> bool:
    if isinstance(value, jax.Array | np.ndarray):
        return True
    if isinstance(value, _CANNOT) or id(value) in seen:
        return False
    seen.add(id(value))
    if isinstance(value, ByIdentity):
        # A score or a normaliser: what it calls and what it is called with.
        names = ("function", "prepare", "ratio", "hyper")
        parts = [getattr(value, name, None) for name in names]
    elif isinstance(value, functools.partial):
        parts = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, types.MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, types.FunctionType):
        parts = [] if _of_library(value) else _read_by(value)
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    elif isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, type):
        parts = [] if _of_library(value) else list(vars(value).values())
    else:
        # Objects, such as modules with parameters.
        classes = type(value).__mro__
        slots = [name for c in classes for name in getattr(c, "__slots__", ())]
        parts = [*getattr(value, "__dict__", {}).values(), *classes]
        parts += [getattr(value, name, None) for name in slots]
    return any(_captures(part, seen) for part in parts)


_CANNOT = (int, float, str, bytes, type(None), types.ModuleType, ArrayValue)
_LIBRARIES = {
    *("attention_jax", "jax", "jaxlib", "numpy", "optax", "flax"),
    *("abc", "builtins", "functools", "typing"),
}


def _of_library(value: Any) -> bool:
    return (value.__module__ or "").partition(".")[0] in _LIBRARIES


def _read_by(function: types.FunctionType) -> list[Any]:
    """What a function may read besides its arguments, in functions inside of it too."""
    codes, names = [function.__code__], set()
    for code in codes:
        names |= set(code.co_names)
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    found = [function.__globals__[n] for n in names if n in function.__globals__]
    modules = [one for one in found if isinstance(one, types.ModuleType)]
    for module in modules:
        if module.__name__.partition(".")[0] not in _LIBRARIES:
            found += [vars(module)[n] for n in names if n in vars(module)]
    return [
        *_contents(function.__closure__ or ()),
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
        *found,
    ]


def _contents(cells: tuple[types.CellType, ...]) -> list[Any]:
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:
            # Not yet filled, as in a function that is still being defined.
            continue
    return found
