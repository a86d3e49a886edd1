"""An ExperimentConfig as JSON, and the differences between two of them."""

import copy
import dataclasses
import os
import pathlib
from typing import Any

from absl import logging

from attention_jax.config import ExperimentConfig
from attention_jax.errors import unknown_name
from attention_jax.functions.import_reference import split_reference, users_module


def config_to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The configuration as nested dicts of JSON values."""
    return dataclasses.asdict(config)


def config_from_dict(values: dict[str, Any]) -> ExperimentConfig:
    """The configuration that `config_to_dict` gave `values` for.

    A field that `values` lacks is newer than they are: it gets its default, and a warning
    names it.

    Raises:
      UnknownNameError: `values` has a field that ExperimentConfig has not.
      ValueError: a value is not of its field's type.
    """
    config = ExperimentConfig()
    _fill(config, values, "config")
    return config


def _fill(section: Any, values: object, prefix: str) -> None:
    if not isinstance(values, dict):
        # The file is damaged; no argument has the wrong type.
        raise ValueError(  # noqa: TRY004
            f"{prefix} must be an object of fields, got {values!r}"
        )
    types = {
        field.name: type(getattr(section, field.name))
        for field in dataclasses.fields(section)
    }
    for name, value in values.items():
        if name not in types:
            known = [f"{prefix}.{known}" for known in types]
            raise unknown_name("field", f"{prefix}.{name}", known)
        default = getattr(section, name)
        if dataclasses.is_dataclass(default):
            _fill(default, value, f"{prefix}.{name}")
            continue
        # JSON writes 1.0 as 1.0 but a hand-edited 1 is a fine float.
        if types[name] is float and type(value) is int:
            value = float(value)
        if type(value) is not types[name]:
            raise ValueError(
                f"{prefix}.{name} must be of type {types[name].__name__}, got {value!r}"
            )
        setattr(section, name, value)
    missing = [name for name in types if name not in values]
    if missing:
        logging.warning(
            "%s was written before %s existed; using the default",
            prefix,
            ", ".join(missing),
        )


def differences(stored: ExperimentConfig, given: ExperimentConfig) -> list[str]:
    """`section.field: stored -> given` for each field in which the two differ."""
    before, after = flatten(config_to_dict(stored)), flatten(config_to_dict(given))
    return [
        f"{name}: {before[name]!r} -> {after[name]!r}"
        for name in before
        if before[name] != after[name]
    ]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def user_files(config: ExperimentConfig) -> dict[str, pathlib.Path]:
    """The fields that name a function of the user's, and the files that define them.

    That is the file of `path/file.py:function`, and of `package.module:function` unless
    the module comes with this package, with Python or with another library.
    """
    files = _named_files(config)
    for name, reference in _references(config).items():
        module, function = split_reference(reference)
        if name not in files and module and function:
            file = users_module(module)
            files |= {name: file} if file else {}
    return files


def _named_files(config: ExperimentConfig) -> dict[str, pathlib.Path]:
    """Those of them that are named by a path."""
    places = {
        name: split_reference(reference)[0]
        for name, reference in _references(config).items()
    }
    return {
        n: pathlib.Path(place) for n, place in places.items() if place.endswith(".py")
    }


def _references(config: ExperimentConfig) -> dict[str, str]:
    """The fields that may refer to a function outside this package."""
    return {
        "model.score": config.model.score,
        "model.normalizer": config.model.normalizer,
    }


def with_absolute_paths(config: ExperimentConfig) -> ExperimentConfig:
    """A copy whose paths, data files and user functions, do not depend on the folder."""
    config = copy.deepcopy(config)
    for name, file in _named_files(config).items():
        section, field = name.split(".")
        function = split_reference(getattr(getattr(config, section), field))[1]
        absolute = f"{_absolute(file)}:{function}"
        setattr(getattr(config, section), field, absolute)
    for field in ("path", "target_path"):
        value = getattr(config.data, field)
        if value:
            absolute = str(_absolute(value))
            setattr(config.data, field, absolute)
    return config


def _absolute(path: str | os.PathLike[str]) -> pathlib.Path:
    # Unlike pathlib's, this expanduser leaves the ~ of an unknown user as it is.
    return pathlib.Path(os.path.expanduser(path)).resolve()
