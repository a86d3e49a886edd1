"""What is wrong with a configuration, said before any work starts.

Every message names the field in full, as the command line writes it: config.data.num_dev.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from attention_jax.configuration import ExperimentConfig
from attention_jax.errors import unknown_name


class Range(NamedTuple):
    """The numbers a field may have: from `low` up to and including `high`."""

    low: float
    high: float = math.inf
    # Whether `low` or `high` themselves are left out.
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is one of them."""
        above = value > self.low if self.above else value >= self.low
        below = value < self.high if self.below else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.low:.10g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.below else 'at most'} {self.high:.10g}"


# Upper limits like these are far from any use, and well within int32 and memory's own: a
# number below the lower one is not told of them.
_TECHNICAL = 2**20
COUNT = Range(0, 2**31 - 1)
POSITIVE = Range(1, 2**31 - 1)
SIZE = Range(1, 2**20)
AMOUNT = Range(0)
PROBABILITY = Range(0, 1, below=True)

RANGES = {
    "seed": Range(0, 2**32 - 1),
    "profile": COUNT,
    "data.source_column": COUNT,
    "data.target_column": COUNT,
    "data.min_length": SIZE,
    "data.max_length": SIZE,
    "data.symbols": Range(2, 2**20),
    "data.num_pairs": COUNT,
    "data.num_dev": POSITIVE,
    "data.num_test": COUNT,
    "data.seed": Range(0, 2**32 - 1),
    "data.num_train": COUNT,
    # Four special tokens and at least one more.
    "data.subwords": Range(5, 2**20),
    "data.min_frequency": POSITIVE,
    "data.max_vocabulary": COUNT,
    "data.max_source_length": COUNT,
    "data.max_target_length": COUNT,
    "data.num_buckets": POSITIVE,
    "model.alignment_size": Range(0, 2**20),
    "model.embedding_size": SIZE,
    "model.encoder_size": SIZE,
    "model.encoder_layers": SIZE,
    "model.decoder_size": SIZE,
    "model.decoder_layers": SIZE,
    "model.readout_size": Range(0, 2**20),
    "model.dropout": PROBABILITY,
    "model.attention_dropout": PROBABILITY,
    "training.batch_size": SIZE,
    "training.steps": POSITIVE,
    "training.max_minutes": AMOUNT,
    "training.learning_rate": Range(0, above=True),
    "training.warmup_steps": COUNT,
    "training.plateau_factor": Range(0, 1, above=True, below=True),
    "training.plateau_patience": POSITIVE,
    "training.accumulate": POSITIVE,
    "training.clip_norm": AMOUNT,
    "training.weight_decay": AMOUNT,
    "training.label_smoothing": PROBABILITY,
    "training.ema_decay": PROBABILITY,
    "training.log_every": POSITIVE,
    "training.eval_every": POSITIVE,
    "training.checkpoint_every": POSITIVE,
    "training.keep_checkpoints": POSITIVE,
    "training.early_stopping_patience": COUNT,
    "training.num_samples": COUNT,
    "decoding.batch_size": Range(1, 100_000),
    "decoding.max_length_ratio": Range(0, 1_000),
    "decoding.max_length_offset": Range(0, 100_000),
    "decoding.min_length_ratio": Range(0, 1_000),
    "decoding.min_length_offset": Range(0, 100_000),
    "decoding.beam_size": Range(1, 10_000),
    "decoding.length_alpha": Range(0, 10),
    "decoding.coverage_beta": Range(0, 1_000),
    "decoding.temperature": Range(1e-6, 1e6),
    "decoding.top_k": Range(0, 2**31 - 1),
    "decoding.top_p": Range(0, 1, above=True),
    "decoding.sample_seed": Range(0, 2**32 - 1),
}


def validate(config: ExperimentConfig) -> None:
    """Returns if an experiment with `config` can start.

    Checks that there are no misspelt attributes, each value's type and range, the names
    against what is registered, and the fields that must agree with one another. It reads
    no data, but executes the file of a `path/file.py:function`.

    Raises:
      TypeError: a field's value has the wrong type.
      ValueError: a number out of its range, fields that disagree.
      UnknownNameError: a name that is not registered, of a score or a tokenizer, say.
    """
    for name, value in _fields(config, "config"):
        check_range(name.removeprefix("config."), value, name=name)
    _check_names(config)
    _check_together(config)


def validate_decoding(config: ExperimentConfig) -> None:
    """Returns if translations can be searched for as `config.decoding` says.

    Raises:
      As `validate`.
    """
    for name, value in _fields(config.decoding, "config.decoding"):
        check_range(name.removeprefix("config."), value, name=name)
    _check_decoding(config)


def check_range(path: str, value: Any, *, name: str) -> None:
    """Raises ValueError, calling the field `name`, if `value` is out of the field's range."""
    if path in RANGES and not RANGES[path].holds(value):
        wanted = RANGES[path]
        if value <= wanted.high >= _TECHNICAL:
            wanted = wanted._replace(high=math.inf)
        raise ValueError(f"{name} must be {wanted}, got {value}")


def _fields(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Each field's full name and value, having checked its type."""
    fields = {field.name: field.type for field in dataclasses.fields(section)}
    for name in vars(section):
        if name not in fields:
            known = [f"{prefix}.{known}" for known in fields]
            raise unknown_name("field", f"{prefix}.{name}", known)
    for name, kind in fields.items():
        value, full = getattr(section, name), f"{prefix}.{name}"
        # An int is a fine float; a bool is not a fine int.
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(
                f"{full} must be of type {getattr(kind, '__name__', kind)}, "
                f"got {value!r} of type {type(value).__name__}"
            )
        if dataclasses.is_dataclass(value):
            yield from _fields(value, full)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{full} must be finite, got {value}")
        else:
            yield full, value


def _check_names(config: ExperimentConfig) -> None:
    # Imported here: a config file needs none of it, and it takes seconds.
    from attention_jax.data.sources import data_sources
    from attention_jax.data.synthetic import synthetic_tasks
    from attention_jax.data.tokenization import tokenizers
    from attention_jax.functions.normalizer import get_normalizer
    from attention_jax.functions.score import get_score
    from attention_jax.models.readouts import readouts
    from attention_jax.models.recurrent import cells
    from attention_jax.models.wirings import wirings
    from attention_jax.training.optimizer import schedules

    lookups = {
        "training.best_by": _one_of("loss", "bleu"),
        "training.compute_dtype": _one_of("float32", "bfloat16"),
        "data.source": data_sources.get,
        "data.task": synthetic_tasks.get,
        "data.source_tokenizer": tokenizers.get,
        "data.target_tokenizer": tokenizers.get,
        "model.attention": wirings.get,
        "model.score": get_score,
        "model.normalizer": get_normalizer,
        "model.cell": cells.get,
        "model.readout": readouts.get,
        "training.schedule": schedules.get,
    }
    _look_up(config, lookups)


def _look_up(
    config: ExperimentConfig, lookups: dict[str, Callable[[str], Any]]
) -> None:
    """Raises what a look-up of a field's value raises, with the field's name."""
    for path, look_up in lookups.items():
        section, field = path.split(".")
        try:
            look_up(getattr(getattr(config, section), field))
        except (LookupError, ValueError, TypeError) as error:
            raise type(error)(f"config.{path}: {error}") from error


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, got {value!r}")
        return value

    return check


def _check_together(config: ExperimentConfig) -> None:
    data, training = config.data, config.training
    if training.steps % training.accumulate:
        raise ValueError(
            "config.training.steps must be a multiple of config.training.accumulate, "
            f"or the last batches would count for nothing: got {training.steps} and "
            f"{training.accumulate}"
        )
    if data.min_length > data.max_length:
        raise ValueError(
            f"config.data.min_length must be at most config.data.max_length, "
            f"got {data.min_length} and {data.max_length}"
        )
    needed = {"tsv": ("path",), "text": ("path", "target_path")}
    for field in needed.get(data.source, ()):
        if not getattr(data, field):
            raise ValueError(
                f"config.data.{field} must name a file for config.data.source "
                f"{data.source}, got ''"
            )
    if data.source in ("cldr", "synthetic") and data.num_pairs == 0:
        raise ValueError(
            f"config.data.num_pairs must be at least 1 for config.data.source "
            f"{data.source}, got 0"
        )
    _check_decoding(config)
    _check_model(config)


def _check_decoding(config: ExperimentConfig) -> None:
    from attention_jax.decoding.penalties import coverage_penalties, length_penalties
    from attention_jax.decoding.searches import searches
    from attention_jax.models.wirings import attends

    decoding = config.decoding
    lookups: dict[str, Callable[[str], Any]] = {
        "decoding.search": searches.get,
        "decoding.length_penalty": length_penalties.get,
        "decoding.coverage_penalty": coverage_penalties.get,
    }
    _look_up(config, lookups)
    if decoding.max_length_ratio == 0 and decoding.max_length_offset == 0:
        raise ValueError(
            "config.decoding.max_length_ratio and config.decoding.max_length_offset "
            "must not both be 0: no output would have a word"
        )
    if attends(config.model):
        return
    if decoding.coverage_penalty != "none":
        raise ValueError(
            f"config.decoding.coverage_penalty {decoding.coverage_penalty} is about "
            f"attention, but config.model.attention is {config.model.attention}"
        )
    if decoding.replace_unknown:
        raise ValueError(
            "config.decoding.replace_unknown needs attention, but "
            f"config.model.attention is {config.model.attention}"
        )


def _check_model(config: ExperimentConfig) -> None:
    """Builds the model, which takes no memory before its parameters are drawn."""
    from attention_jax.data.vocabulary import SPECIAL_TOKENS
    from attention_jax.models.functional import build_model

    try:
        build_model(config.model, len(SPECIAL_TOKENS), len(SPECIAL_TOKENS))
    except ValueError as error:
        # Its messages begin with the field's name inside the model's section.
        raise ValueError(f"config.{error}") from error
