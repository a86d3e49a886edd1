"""Config files and the flags that override their fields.

A config file is a Python file whose `get_config()` returns an ExperimentConfig, or a list or
dict of them, a sweep.
"""

import copy
import dataclasses
import difflib
import functools
import os
import pathlib
import runpy
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import flags

from attention_jax.config import ExperimentConfig
from attention_jax.errors import UserError

CONFIG_HELP = (
    "Python file whose get_config() returns an ExperimentConfig; FILE.py:VARIANT passes "
    "VARIANT to it."
)
_DEFINE: dict[Any, Callable[..., object]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


Configs = ExperimentConfig | Sequence[ExperimentConfig] | Mapping[str, ExperimentConfig]


def define_fields(flag_values: flags.FlagValues, section: Any, prefix: str) -> None:
    """Defines a flag for every field of a config section, None unless it is given.

    absl's own flags rather than ml_collections' overrides: those end with a KeyError's
    traceback for a misspelt field, and override one config where a sweep has many.
    """
    for one in dataclasses.fields(section):
        name: str = prefix + one.name
        if dataclasses.is_dataclass(one.type):
            define_fields(flag_values, one.type, f"{name}.")
            continue
        text = f"{one.metadata['help']} (default {one.default!r})"
        _DEFINE[one.type](name, None, text, flag_values=flag_values)


def define_config(flag_values: flags.FlagValues) -> None:
    """Defines --config and a flag for every field of it."""
    flags.DEFINE_string("config", None, CONFIG_HELP, flag_values=flag_values)
    define_fields(flag_values, ExperimentConfig, "config.")


def override(
    config: ExperimentConfig, overrides: Mapping[str, Any]
) -> ExperimentConfig:
    """A copy of the configuration with other values, by dotted names."""
    config = copy.deepcopy(config)
    for path, value in overrides.items():
        *sections, field = path.split(".")
        setattr(functools.reduce(getattr, sections, config), field, value)
    return config


def override_all(configs: Configs, overrides: Mapping[str, Any]) -> Configs:
    """The same for one configuration or several."""
    if isinstance(configs, ExperimentConfig):
        return override(configs, overrides)
    if isinstance(configs, Mapping):
        return {name: override(one, overrides) for name, one in configs.items()}
    return [override(one, overrides) for one in configs]


def load_configs(argument: str) -> Configs:
    """What get_config() of `FILE.py` or `FILE.py:VARIANT` returns: one or several.

    Raises:
      UserError: the file is missing, raises (names the line), or returns something else.
    """
    path, *variant = argument.split(":", 1)
    if not os.path.isfile(path):
        files = sorted(map(str, pathlib.Path("configs").glob("*.py")))
        raise UserError(
            f"--config: there is no file {path}{nearest(path, files, cutoff=0.3)}"
        )
    try:
        found = runpy.run_path(path)["get_config"](*variant)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == path]
        if isinstance(error, SyntaxError) and error.filename == path:
            lines = [error.lineno]
        where = f" in line {lines[-1]}" if lines else ""
        raise UserError(
            f"the config file {path} raised {type(error).__name__}{where}: {error}"
        ) from error
    several = isinstance(found, list | tuple | dict)
    items = found.values() if isinstance(found, dict) else found
    items = items if several else [found]
    for one in items:
        if not isinstance(one, ExperimentConfig):
            raise UserError(
                f"get_config() of {path} must return an ExperimentConfig, or a list or "
                f"dict of them for a sweep, got {type(one).__name__}"
            )
    if several and not found:
        raise UserError(f"get_config() of {path} returns an empty sweep")
    return found


def load_config(argument: str) -> ExperimentConfig:
    """The one configuration of `FILE.py` or `FILE.py:VARIANT`.

    Raises:
      UserError: as `load_configs`, or it returns several.
    """
    found = load_configs(argument)
    if not isinstance(found, ExperimentConfig):
        raise UserError(
            f"{argument} is a sweep of {len(found)} runs: use "
            f"python -m experiments.sweep --config={argument} --workdir=DIR"
        )
    return found


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """A clause naming the known name most like `name`, or "" if none is alike."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
