import dataclasses

import pytest

from attention_jax.config import DecodingConfig, ExperimentConfig, Range
from attention_jax.errors import UnknownNameError, UserError
from attention_jax.experiment import validate


def fields(section=None, prefix=""):
    """Every field and its full name."""
    for field in dataclasses.fields(section or ExperimentConfig):
        if dataclasses.is_dataclass(field.type):
            yield from fields(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field


RANGES = {
    name: field.metadata["allowed"]
    for name, field in fields()
    if isinstance(field.metadata["allowed"], Range)
}


def with_field(path, value):
    config = ExperimentConfig()
    section, _, field = path.rpartition(".")
    setattr(getattr(config, section) if section else config, field, value)
    return config


def test_the_defaults_are_valid_and_an_int_is_a_fine_float():
    validate(ExperimentConfig())
    validate(with_field("training.max_minutes", 2))


def test_every_field_has_help_and_every_number_a_range():
    assert all(field.metadata["help"] for _, field in fields())
    assert set(RANGES) == {n for n, field in fields() if field.type in (int, float)}


def refused():
    """A field, a value that it may not have, and what the error says it must be."""
    for path, allowed in RANGES.items():
        yield path, -1, "got -1"
        if allowed.below:
            yield path, 1.0, "below 1, got 1"
        if path == "decoding.sample_seed":
            yield path, 2**32, "and at most"
        elif path.startswith("decoding."):  # what float32 and int32 cannot hold
            is_float = isinstance(getattr(DecodingConfig(), path[9:]), float)
            yield path, 1e300 if is_float else 10**12, "and at most"
    yield "training.learning_rate", 0.0, "above 0, got 0"
    yield "training.learning_rate", float("nan"), "finite"
    yield "training.learning_rate", float("inf"), "finite"
    yield "training.steps", 10**22, "at most 2147483647"
    yield "training.batch_size", 10**11, "1048576"
    for value in (2.0, True, "5"):
        yield "training.steps", value, "of type"
    yield "training.learning_rate", "0.1", "of type"
    yield "model.bidirectional", 1, "of type"
    yield "model.score", None, "of type"
    yield "model", None, "of type"


@pytest.mark.parametrize(("path", "value", "message"), list(refused()))
def test_a_value_out_of_range_or_of_another_type_is_named(path, value, message):
    with pytest.raises(UserError, match=rf"config\.{path} must be .*{message}"):
        validate(with_field(path, value))


@pytest.mark.parametrize(
    "path_and_nearest",
    [
        *("data.source=cldr", "data.task=reverse", "data.source_tokenizer=characters"),
        *("data.target_tokenizer=words", "model.attention=after", "model.cell=lstm"),
        *("model.readout=linear", "model.score=additive", "model.normalizer=softmax"),
        "training.schedule=cosine",
    ],
)
def test_an_unknown_registered_name_is_named_with_the_nearest(path_and_nearest):
    path, nearest = path_and_nearest.split("=")
    with pytest.raises(UnknownNameError, match=rf"config\.{path}: .*'{nearest}'"):
        validate(with_field(path, nearest + "z"))


def test_a_misspelt_attribute_is_named_with_the_nearest():
    nearest = r"config\.training\.stpes'\. Did you mean 'config\.training\.steps'"
    with pytest.raises(UnknownNameError, match=nearest):
        validate(with_field("training.stpes", 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.min_length": 9, "data.max_length": 8}, "min_length must be at most"),
        ({"data.source": "tsv"}, r"config\.data\.path must name a file"),
        ({"data.source": "text", "data.path": "a"}, r"data\.target_path must name"),
        ({"training.steps": 10, "training.accumulate": 4}, "got 10 and 4"),
        ({"data.path": "a\0b"}, r"config\.data\.path must not hold a NUL"),
        ({"data.num_pairs": 0}, r"config\.data\.num_pairs must be at least 1"),
        (
            {"decoding.max_length_ratio": 0.0, "decoding.max_length_offset": 0},
            "must not both be 0",
        ),
        (
            {"model.decoder_size": 3},
            r"config\.model\.score=dot: .* width model.decoder_size=",
        ),
        ({"model.tied_embeddings": True}, r"config\.model\.tied_embeddings needs"),
    ],
)
def test_fields_that_disagree_are_named(changes, message):
    config = ExperimentConfig()
    for path, value in changes.items():
        section, field = path.split(".")
        setattr(getattr(config, section), field, value)
    with pytest.raises(UserError, match=message):
        validate(config)
