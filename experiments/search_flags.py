"""The flags that say how translations are searched for: a field of DecodingConfig each."""

import dataclasses
import re
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from absl import flags

from attention_jax.config import DecodingConfig
from experiments.arguments import UsageError

if TYPE_CHECKING:
    from attention_jax.config import ExperimentConfig
    from attention_jax.run import Run

HELP = {
    "batch_size": "Sentences translated together.",
    "search": "greedy, beam or sample; the flags below imply beam or sample.",
    "max_length_ratio": "The longest translation has so many words a source word,",
    "max_length_offset": "... and so many more.",
    "min_length_ratio": "The shortest has so many words a source word,",
    "min_length_offset": "... and so many more.",
    "beam_size": "beam: translations kept at every step.",
    "length_penalty": "beam: what scores are divided by: none, gnmt or plain,",
    "length_alpha": "... to this power.",
    "coverage_penalty": "beam: what is added to scores: none, gnmt or summary,",
    "coverage_beta": "... times this.",
    "temperature": "sample: logits are divided by it.",
    "top_k": "sample: from the so many likeliest words; 0: all.",
    "top_p": "sample: from the fewest words with this probability; 1: all.",
    "sample_seed": "sample: the seed; a line's words depend on it and the line's number.",
    "replace_unknown": "<unk> becomes the source word that attention points to.",
}
# The strength of each penalty.
_NUMBERS = {"length_alpha": "length_penalty", "coverage_beta": "coverage_penalty"}
_DEFINE: dict[type, Callable[..., object]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def define_search(flag_values: flags.FlagValues) -> None:
    """Defines a flag for every field; one that is not given leaves the run's own."""
    for field in dataclasses.fields(DecodingConfig):
        define = _DEFINE[type(field.default)]
        define(field.name, None, HELP[field.name], flag_values=flag_values)


def given(arguments: types.SimpleNamespace) -> dict[str, Any]:
    """The fields that were given on the command line."""
    values = {name: getattr(arguments, name) for name in HELP}
    return {name: value for name, value in values.items() if value is not None}


def with_search(
    run: "Run", arguments: types.SimpleNamespace, *, search: str | None = None
) -> "Run":
    """The run with the fields that were given; with `search`, those of every search.

    Raises:
      UsageError: a value out of its range, an unknown name, flags of two searches, or one
        that would change nothing.
    """
    config = with_search_of(run.config, arguments, search=search)
    return dataclasses.replace(run, config=config)


def with_search_of(
    config: "ExperimentConfig",
    arguments: types.SimpleNamespace,
    *,
    search: str | None = None,
) -> "ExperimentConfig":
    """As `with_search`, of a run's configuration.

    Raises:
      UsageError: as there.
      ValueError, LookupError, TypeError: what the configuration itself says cannot be.
    """
    from attention_jax.decoding.searches import searches
    from attention_jax.run import with_decoding

    wanted = given(arguments)
    if search is not None:
        own = [name for entry in searches.entries.values() for name in entry.fields]
        wanted = {name: value for name, value in wanted.items() if name not in own}
        wanted["search"] = search
    try:
        found = with_decoding(config, **wanted)
    except (ValueError, LookupError, TypeError) as error:
        message = str(error.args[0])
        named = re.search(r"config\.decoding\.(\w+)", message)
        if named and named[1] not in wanted:
            # No flag is to blame for what the run itself says.
            raise ValueError(f"the run's {message}") from error
        raise UsageError(message.replace("config.decoding.", "--")) from error
    for number, penalty in _NUMBERS.items():
        if number in wanted and getattr(found.decoding, penalty) == "none":
            raise UsageError(f"--{number} does nothing without a --{penalty}")
    return found
