"""Config files of a sweep: `get_config()` returns a list or a dict of ExperimentConfigs."""

import copy
import functools
import pathlib
from typing import TYPE_CHECKING, Any

from experiments.config_file import ConfigFileError, get_config_of

if TYPE_CHECKING:
    from attention_jax.config import ExperimentConfig


class SweepLoader:
    """Loads a sweep for the one config flag, whose overrides then count for every run.

    ml_collections parses overrides into one dataclass: the first configuration stands for
    all, and `named` sets in each what was parsed.
    """

    def __init__(self):
        self._loaded: list[ExperimentConfig] | dict[str, ExperimentConfig] = []

    def __call__(self, argument: str) -> "ExperimentConfig":
        """The first configuration of `FILE.py` or `FILE.py:VARIANT`.

        Raises:
          ConfigFileError: as for `load_sweep`.
        """
        loaded = self._loaded = load_sweep(argument)
        return next(iter(loaded.values())) if isinstance(loaded, dict) else loaded[0]

    def named(self, flag: Any) -> "dict[str, ExperimentConfig]":
        """The configurations by name, with the overrides that the config flag has parsed.

        Raises:
          ValueError: two of them are the same, or a name is no file name.
        """
        from ml_collections import config_flags

        from attention_jax.sweeps.names import name_runs

        overrides = config_flags.get_override_values(flag)
        file = config_flags.get_config_filename(flag).partition(":")[0]
        if isinstance(self._loaded, dict):
            configs = {n: _with(c, overrides) for n, c in self._loaded.items()}
        else:
            configs = [_with(config, overrides) for config in self._loaded]
        return name_runs(configs, single=pathlib.Path(file).stem)


def load_sweep(
    argument: str,
) -> "list[ExperimentConfig] | dict[str, ExperimentConfig]":
    """The configurations of a file that returns several; one alone is a list of one.

    Raises:
      ConfigFileError: the file is missing, raises, or returns something else.
    """
    from attention_jax.config import ExperimentConfig

    found, path = get_config_of(argument), argument.partition(":")[0]
    if isinstance(found, ExperimentConfig):
        return [found]
    if not isinstance(found, list | dict) or not found:
        empty = "an empty " if isinstance(found, list | dict) else ""
        raise ConfigFileError(
            f"get_config() of {path} must return an ExperimentConfig, or a list or dict of "
            f"them, got {empty}{type(found).__name__}"
        )
    items = found.items() if isinstance(found, dict) else enumerate(found)
    for name, config in items:
        if not isinstance(config, ExperimentConfig):
            raise ConfigFileError(
                f"get_config() of {path} must return ExperimentConfigs, "
                f"got {type(config).__name__} at [{name!r}]"
            )
    return found


def _with(config: "ExperimentConfig", overrides: dict[str, Any]) -> "ExperimentConfig":
    """A copy with the overrides, by dotted names."""
    config = copy.deepcopy(config)
    for path, value in overrides.items():
        *sections, field = path.split(".")
        setattr(functools.reduce(getattr, sections, config), field, value)
    return config
