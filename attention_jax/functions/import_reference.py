"""`package.module:function` and `path/file.py:function` as references to a function."""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attention_jax import errors
from attention_jax.errors import UnknownNameError, unknown_name

_loaded_files: dict[tuple[Path, str], Any] = {}


def is_reference(text: str) -> bool:
    """Whether `text` names a function in a module or a file rather than a registered one.

    A file without a function is a reference too: one that `load_reference` explains.
    """
    return ":" in text or text.endswith(".py")


def split_reference(reference: str) -> tuple[str, str]:
    """The module or file, and the function in it; "" for what is missing."""
    if reference.endswith(".py"):
        return reference, ""
    place, _, name = reference.rpartition(":")
    return place, name


def reference_to(function: Callable) -> str | None:
    """The reference that a function is found by at the top of a module or file, or None.

    There it may be the score or normaliser of that function.
    """
    module, name = sys.modules.get(function.__module__), function.__qualname__
    found = getattr(module, name, None)
    if found is not function and getattr(found, "function", None) is not function:
        return None
    assert module is not None
    loaded = any(module is other for other in _loaded_files.values())
    return f"{module.__file__ if loaded else module.__name__}:{name}"


def load_reference(kind: str, reference: str) -> Callable:
    """The object that `reference` names.

    A file is executed once per content: loading it again unchanged gives the same
    objects (so nothing is compiled twice), and an edited file is executed anew.

    Raises:
      UnknownNameError: no such module, file or attribute, or importing it failed.
    """
    place, name = split_reference(reference)
    if not place or not (name or place.endswith(".py")):
        raise UnknownNameError(
            f"{kind} {reference!r} is not of the form package.module:function or "
            "path/file.py:function"
        )
    if not place.endswith(".py") and os.path.isfile(os.path.expanduser(place)):
        raise UnknownNameError(
            f"{place!r} of {kind} {reference!r} is no Python file: its name must end in .py"
        )
    module = (
        _load_file(kind, place) if place.endswith(".py") else _load_module(kind, place)
    )
    if not name:
        defined = ", ".join(defined_in(module)) or "no function"
        raise UnknownNameError(
            f"the {kind} {reference!r} is a file: name its function, {place}:FUNCTION. "
            f"The file defines {defined}."
        )
    try:
        return getattr(module, name)
    except AttributeError:
        raise unknown_name(f"{kind} in {place}", name, defined_in(module)) from None


def users_module(name: str) -> Path | None:
    """The file of a module that can be imported and is the user's own; None for others."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - it imports the packages that the module is in
        return None
    if spec is None or not spec.origin or not errors.is_user_file(spec.origin):
        return None
    return Path(spec.origin)


def defined_in(module: Any) -> list[str]:
    """The public functions, and objects called like functions, that a module made itself.

    For a package that made none and collects those of its modules, these.
    """
    public = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value)
    ]
    own = [name for name in public if not _is_imported(module, getattr(module, name))]
    return own or (public if hasattr(module, "__path__") else [])


def _is_imported(module: Any, value: object) -> bool:
    """Whether another module has made `value`: the one it says it is from has it too.

    A partial or a combined score names the module of the function inside it as its own, but
    is not found there.
    """
    home = getattr(value, "__module__", None) or type(value).__module__
    if home == module.__name__ or home not in sys.modules:
        return False
    return any(value is other for other in vars(sys.modules[home]).values())


def _load_module(kind: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _cannot_import(kind, name, error) from error


def _load_file(kind: str, place: str) -> Any:
    path = Path(os.path.expanduser(place)).resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UnknownNameError(
            f"cannot read {place!r} for the {kind}: {error.strerror or error}"
        ) from error
    digest = hashlib.sha256(source).hexdigest()
    if (path, digest) in _loaded_files:
        return _loaded_files[path, digest]
    # The name depends on the path alone, so that an edited file re-registers as itself.
    name = f"attention_jax_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not exec_module: its cached bytecode would hide an edit within the same second.
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _cannot_import(kind, place, error, file=path) from error
    _loaded_files[path, digest] = module
    return module


def _cannot_import(
    kind: str, place: str, error: BaseException, *, file: Path | None = None
) -> UnknownNameError:
    return UnknownNameError(
        f"cannot import {place!r} for the {kind}: "
        f"{errors.format_error(error, file=file or '')}"
    )
