"""The flags of programs that read a trained run: which one, and how it translates."""

import dataclasses
import re
import types
from typing import TYPE_CHECKING, Any

from absl import flags

from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.errors import UserError
from experiments.config_flags import define_fields

if TYPE_CHECKING:
    from attention_jax.run import Run

CHECKPOINTS = ("best", "last")
SPLITS = ("test", "dev", "train")


def define_workdir(flag_values: flags.FlagValues) -> None:
    """Defines --workdir."""
    flags.DEFINE_string(
        "workdir", None, "The run's directory.", flag_values=flag_values
    )


def define_checkpoint(flag_values: flags.FlagValues) -> None:
    """Defines --checkpoint."""
    flags.DEFINE_enum(
        "checkpoint",
        CHECKPOINTS[0],
        CHECKPOINTS,
        "Whose parameters: the best on dev, the last, or the mean of the last ones kept.",
        flag_values=flag_values,
    )


def define_split(flag_values: flags.FlagValues) -> None:
    """Defines --split."""
    flags.DEFINE_enum(
        "split", SPLITS[0], SPLITS, "Which pairs.", flag_values=flag_values
    )


def define_max_sentences(flag_values: flags.FlagValues, default: int) -> None:
    """Defines --max_sentences."""
    flags.DEFINE_integer(
        "max_sentences",
        default,
        "Only the first N; 0 takes all.",
        lower_bound=0,
        flag_values=flag_values,
    )


def define_search(flag_values: flags.FlagValues) -> None:
    """Defines a flag for every field of DecodingConfig; without it the run's own holds."""
    define_fields(flag_values, DecodingConfig, "")


def search_given(arguments: types.SimpleNamespace) -> dict[str, Any]:
    """The fields of DecodingConfig that were given on the command line."""
    names = [field.name for field in dataclasses.fields(DecodingConfig)]
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def with_search(
    run: "Run", arguments: types.SimpleNamespace, *, search: str | None = None
) -> "Run":
    """The run with the fields that were given, as `with_search_of`."""
    config = with_search_of(run.config, arguments, search=search)
    return dataclasses.replace(run, config=config)


def with_search_of(
    config: ExperimentConfig,
    arguments: types.SimpleNamespace,
    *,
    search: str | None = None,
) -> ExperimentConfig:
    """The configuration with the fields that were given.

    Args:
      config: a run's.
      arguments: of the command line.
      search: the search instead of the given one; the fields of one search do not count.

    Raises:
      UserError: a value out of its range, an unknown name, flags of two searches, or one
        that would change nothing.
    """
    # Imported here: it takes a second.
    from attention_jax.run import searches, with_decoding

    wanted = search_given(arguments)
    if search is not None:
        own = [name for entry in searches.entries.values() for name in entry.fields]
        wanted = {name: value for name, value in wanted.items() if name not in own}
        wanted["search"] = search
    try:
        found = with_decoding(config, **wanted).decoding
    except ValueError as error:
        message = str(error.args[0])
        field = re.search(r"config\.decoding\.(\w+)", message)
        if field and field[1] not in wanted:
            # No flag is to blame for what the run itself has.
            raise UserError(f"the run's {message}") from error
        raise UserError(message.replace("config.decoding.", "--")) from error
    for number, penalty in (
        ("length_alpha", "length_penalty"),
        ("coverage_beta", "coverage_penalty"),
    ):
        if number in wanted and getattr(found, penalty) == "none":
            raise UserError(f"--{number} does nothing without a --{penalty}")
    return dataclasses.replace(config, decoding=found)
