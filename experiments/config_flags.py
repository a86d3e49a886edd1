"""Config files, whose get_config() returns one configuration or more, and flags for fields."""

import dataclasses
import difflib
import functools
import os
import pathlib
import runpy
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from absl import flags

from attention_jax.config import ExperimentConfig, check_fields
from attention_jax.errors import UserError, format_error

_DEFINE: dict[Any, Callable[..., object]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def define_fields(flag_values: flags.FlagValues, section: Any, prefix: str) -> None:
    """Defines a flag for every field of a config section, None unless it is given."""
    for one in dataclasses.fields(section):
        name: str = prefix + one.name
        if dataclasses.is_dataclass(one.type):
            define_fields(flag_values, one.type, f"{name}.")
            continue
        text = f"{one.metadata['help']} (default {one.default!r})"
        _DEFINE[one.type](name, None, text, flag_values=flag_values)


def define_config(flag_values: flags.FlagValues) -> None:
    """Defines --config and a flag for every field of it."""
    text = "Python file whose get_config() returns an ExperimentConfig."
    flags.DEFINE_string("config", None, text, flag_values=flag_values)
    define_fields(flag_values, ExperimentConfig, "config.")


def load_configs(
    path: str, flags_given: Mapping[str, Any] = types.MappingProxyType({})
) -> list[ExperimentConfig] | dict[str, ExperimentConfig]:
    """What get_config() of a file returns; one configuration alone as a list.

    Flags called `config.section.field` that are not None override the field in each.

    Raises:
      UserError: the file is missing, raises (names the line), or returns something else.
    """
    if not os.path.isfile(path):
        files = sorted(map(str, pathlib.Path("configs").glob("*.py")))
        raise UserError(
            f"--config: there is no file {path}{nearest(path, files, cutoff=0.3)}"
        )
    try:
        found = runpy.run_path(os.path.abspath(path)).get("get_config", dict)()
    except (Exception, SystemExit) as error:
        reason = format_error(error, file=os.path.abspath(path))
        raise UserError(f"the config file {path} raised {reason}") from error
    if not isinstance(found, list | dict):
        found = [found]
    overrides = [
        (name.removeprefix("config.").split("."), value)
        for name, value in flags_given.items()
        if name.startswith("config.") and value is not None
    ]
    for one in found.values() if isinstance(found, dict) else found:
        if not isinstance(one, ExperimentConfig):
            raise UserError(
                f"get_config() of {path} must return an ExperimentConfig, or a list or "
                f"dict of them for a sweep, got {type(one).__name__}"
            )
        if any(value is None for value in vars(one).values()):
            check_fields(one)  # a section of None has no fields to override
        for (*sections, field), value in overrides:
            setattr(functools.reduce(getattr, sections, one), field, value)
    if not found:
        raise UserError(f"{path} has no get_config(), or it returns an empty sweep")
    return found


def load_config(
    path: str, flags_given: Mapping[str, Any] = types.MappingProxyType({})
) -> ExperimentConfig:
    """As `load_configs`, of a file that returns one; UserError if it returns several."""
    found = load_configs(path, flags_given)
    if isinstance(found, dict) or len(found) > 1:
        raise UserError(
            f"{path} is a sweep of {len(found)} runs: use "
            f"python -m experiments.sweep --config={path} --workdir=DIR"
        )
    return found[0]


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """A clause naming the known name most like `name`, or "" if none is alike."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
