"""What the runs of a sweep are called."""

import pytest

from attention_jax.config import ExperimentConfig
from attention_jax.sweeps.names import name_runs


def config(**fields):
    made = ExperimentConfig()
    for name, value in fields.items():
        *sections, field = name.split("__")
        holder = made
        for section in sections:
            holder = getattr(holder, section)
        setattr(holder, field, value)
    return made


def names(*configs, **keywords):
    return list(name_runs(configs, **keywords))


def test_a_list_is_named_by_what_differs():
    dot, cosine = config(model__score="dot"), config(model__score="cosine")
    assert name_runs([dot, cosine]) == {"score=dot": dot, "score=cosine": cosine}
    assert names(
        config(seed=1, data__seed=2, training__batch_size=8), config(seed=3)
    ) == [
        "seed=1+data.seed=2+training.batch_size=8",
        "seed=3+data.seed=0+training.batch_size=64",
    ]


def test_one_alone_has_the_name_given():
    assert names(config(), single="my config") == ["my-config"]
    assert names(config(), single="...") == ["run"]


def test_what_is_no_file_name_becomes_one():
    assert names(
        config(model__score="a/b/mine.py:f"),
        config(model__score="a/b/mine.py:g h", training__learning_rate=1e-5),
    ) == [
        "score=mine.py-f+learning_rate=0.002",
        "score=mine.py-g-h+learning_rate=1e-05",
    ]


def test_names_that_would_be_the_same_file_are_told_apart():
    odd = [config(data__path=path) for path in ("é", "ü", "x")]
    assert names(*odd) == ["path=-@1", "path=-@2", "path=x"]
    cases = [config(data__path=path) for path in ("A", "a")]
    assert names(*cases) == ["path=A@1", "path=a@2"]
    long = [config(data__path=200 * "x" + end) for end in "ab"]
    assert [name[-3:] for name in names(*long)] == ["x@1", "x@2"]
    assert all(len(name) < 130 for name in names(*long))


def test_a_dict_keeps_its_names():
    given = {"b": config(), "a": config(seed=1)}
    assert list(name_runs(given)) == ["b", "a"]


@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", ".hidden", "a,b", "a b", "é", 3, "x" * 121, "a\n"]
)
def test_a_dicts_names_must_be_file_names(name):
    with pytest.raises(
        ValueError, match="name of a run must be a file name of at most"
    ):
        name_runs({name: config()})


def test_equal_configurations_are_refused():
    with pytest.raises(ValueError, match="^number 1 and number 3 of the sweep are the"):
        name_runs([config(), config(seed=1), config()])
    with pytest.raises(ValueError, match="^a and b of the sweep are the same"):
        name_runs({"a": config(), "b": config()})
    with pytest.raises(ValueError, match="two runs of the sweep have the name 'A'"):
        name_runs({"A": config(), "a": config(seed=1)})
    with pytest.raises(ValueError, match="the sweep is empty"):
        name_runs([])
