"""Registries: names, errors, replacing, and that every entry has an oracle."""

import pytest

import attention_jax as aj
from attention_jax.errors import DuplicateNameError, UnknownNameError
from attention_jax.functions.registry import Registry
from tests import oracles


def test_every_registered_function_has_an_oracle():
    assert set(oracles.SCORES) == set(aj.score_names())
    assert set(oracles.NORMALIZERS) == set(aj.normalizer_names())


def test_unknown_name_lists_the_known_and_the_nearest():
    table = Registry("fruit")
    table.register(
        "apple", 1, function=test_unknown_name_lists_the_known_and_the_nearest
    )
    with pytest.raises(UnknownNameError, match=r"unknown fruit 'aple'.*'apple'.*Known"):
        table.get("aple")
    assert issubclass(UnknownNameError, LookupError)
    with pytest.raises(UnknownNameError, match="Known: apple"):
        table.get("zzz")


def test_the_same_function_replaces_another_is_refused():
    table = Registry("thing")

    def make(value):
        def function():
            return value

        return function

    first, again = make(1), make(2)
    table.register("f", first, function=first)
    table.register("f", again, function=again)
    assert table.get("f")() == 2
    with pytest.raises(DuplicateNameError, match="taken by .*function"):
        table.register("f", make, function=make)


@pytest.mark.parametrize(
    ("get", "kind"),
    [
        (aj.get_score, "score"),
        (aj.get_normalizer, "normalizer"),
    ],
)
def test_lookup_errors_name_the_kind(get, kind):
    with pytest.raises(LookupError, match=f"unknown {kind} 'nonsense'.*Known: "):
        get("nonsense")
    with pytest.raises(TypeError, match=f"{kind} must be a name"):
        get(3)
