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


def test_the_defaults_are_valid():
    validate(ExperimentConfig())


def test_every_field_has_help_and_every_number_a_range():
    assert all(field.metadata["help"] for _, field in fields())
    assert set(RANGES) == {n for n, field in fields() if field.type in (int, float)}


@pytest.mark.parametrize("path", RANGES)
def test_a_number_below_its_range_is_named(path):
    with pytest.raises(UserError, match=rf"config\.{path} must be .*got -1"):
        validate(with_field(path, -1))


@pytest.mark.parametrize(
    "path", [path for path, allowed in RANGES.items() if allowed.below]
)
def test_a_probability_of_one_is_refused(path):
    with pytest.raises(UserError, match=rf"config\.{path} must be .*below 1, got 1"):
        validate(with_field(path, 1.0))


@pytest.mark.parametrize(
    "path", [path for path in RANGES if path.startswith("decoding.")]
)
def test_what_float32_and_int32_cannot_hold_is_refused(path):
    if path == "decoding.sample_seed":
        value = 2**32
    else:
        value = 1e300 if type(getattr(DecodingConfig(), path[9:])) is float else 10**12
    with pytest.raises(UserError, match=rf"config\.{path} must be .*and at most"):
        validate(with_field(path, value))


def test_a_learning_rate_of_zero_is_refused():
    with pytest.raises(UserError, match="learning_rate must be above 0, got 0"):
        validate(with_field("training.learning_rate", 0.0))


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("data.source", "cldr"),
        ("data.source_tokenizer", "characters"),
        ("data.target_tokenizer", "words"),
        ("data.task", "reverse"),
        ("model.attention", "after"),
        ("model.cell", "lstm"),
        ("model.readout", "linear"),
        ("model.score", "additive"),
        ("model.normalizer", "softmax"),
        ("training.schedule", "cosine"),
    ],
)
def test_an_unknown_registered_name_is_named_with_the_nearest(path, nearest):
    with pytest.raises(UnknownNameError, match=rf"config\.{path}: .*'{nearest}'"):
        validate(with_field(path, nearest + "z"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.steps", 2.0),
        ("training.steps", True),
        ("training.steps", "5"),
        ("training.learning_rate", "0.1"),
        ("model.bidirectional", 1),
        ("model.score", None),
        ("model", None),
    ],
)
def test_a_value_of_the_wrong_type_is_named(path, value):
    with pytest.raises(UserError, match=rf"config\.{path} must be of type"):
        validate(with_field(path, value))


def test_an_int_is_a_fine_float():
    validate(with_field("training.max_minutes", 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_float_must_be_finite(value):
    with pytest.raises(UserError, match=r"config\.training\.learning_rate must be fin"):
        validate(with_field("training.learning_rate", value))


def test_a_misspelt_attribute_is_named_with_the_nearest():
    config = ExperimentConfig()
    config.training.stpes = 3
    nearest = r"config\.training\.stpes'\. Did you mean 'config\.training\.steps'"
    with pytest.raises(UnknownNameError, match=nearest):
        validate(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.min_length": 9, "data.max_length": 8}, "min_length must be at most"),
        ({"data.source": "tsv"}, r"config\.data\.path must name a file"),
        ({"data.source": "text", "data.path": "a"}, r"data\.target_path must name"),
        ({"training.steps": 10, "training.accumulate": 4}, "got 10 and 4"),
        ({"training.steps": 10**22}, r"training\.steps must be .* at most 2147483647"),
        ({"training.batch_size": 10**11}, r"training\.batch_size must be .* 1048576"),
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
