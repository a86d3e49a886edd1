"""`package.module:function` and `path/file.py:function` as references to a function."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from attention_jax.registry import UnknownNameError, unknown_name

_loaded_files: dict[tuple[Path, str], object] = {}


def is_reference(text: str) -> bool:
    """Whether `text` names a function in a module or a file rather than a registered one."""
    return ":" in text


def load_reference(kind: str, reference: str) -> Callable:
    """The object that `reference` names.

    A file is executed once per content: loading it again unchanged gives the same
    objects (so nothing is compiled twice), and an edited file is executed anew.

    Raises:
      UnknownNameError: no such module, file or attribute, or importing it failed.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UnknownNameError(
            f"{kind} {reference!r} is not of the form package.module:function or "
            "path/file.py:function"
        )
    module = (
        _load_file(kind, place) if place.endswith(".py") else _load_module(kind, place)
    )
    try:
        return getattr(module, name)
    except AttributeError:
        public = [n for n in vars(module) if not n.startswith("_")]
        callables = [n for n in public if callable(getattr(module, n))]
        raise unknown_name(f"{kind} in {place}", name, callables) from None


def _load_module(kind: str, name: str) -> object:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UnknownNameError(
            f"cannot import {name!r} for the {kind}: {type(error).__name__}: {error}"
        ) from error


def _load_file(kind: str, place: str) -> object:
    path = Path(place).expanduser().resolve()
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
    except Exception as error:
        del sys.modules[name]
        raise UnknownNameError(
            f"cannot import {place!r} for the {kind}: {type(error).__name__}: {error}"
        ) from error
    _loaded_files[path, digest] = module
    return module
