"""Finding, declaring, binding and wrapping scores."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.functions.score import Score

MINE = """
import attention_jax as aj

@aj.register_score(params={"w": "QK"})
def half_bilinear(query, keys, *, w):
    return keys @ (query @ w) / 2
"""


@pytest.fixture
def score_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_four_forms_and_a_score_itself_are_one_score(score_file):
    by_name = aj.get_score("additive")
    assert by_name is aj.get_score(aj.additive)
    assert by_name is aj.get_score("attention_jax.scores:additive")
    assert by_name is aj.get_score("attention_jax:additive")
    assert by_name is aj.get_score(by_name)
    assert aj.get_score(f"{score_file}:half_bilinear").name == "half_bilinear"


def test_a_file_is_loaded_once_and_again_when_edited(score_file, monkeypatch):
    """An edit of the same size within the same second too: no stale bytecode."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    reference = f"{score_file}:half_bilinear"
    first = aj.get_score(reference)
    assert aj.get_score(reference) is first
    score_file.write_text(MINE.replace("/ 2", "/ 4"))
    edited = aj.get_score(reference)
    query, keys = np.ones(2, np.float32), np.ones((3, 2), np.float32)
    w = np.eye(2, dtype=np.float32)
    assert first(query, keys, w=w)[0] == 1.0
    assert edited(query, keys, w=w)[0] == 0.5
    assert aj.get_score("half_bilinear") is edited


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:f", "cannot import 'no_such_module'.*ModuleNotFoundError"),
        (
            "attention_jax.scores:dott",
            "unknown score in attention_jax.scores 'dott'.*dot",
        ),
        ("nowhere.py:f", "cannot read 'nowhere.py'.*No such file"),
        (":f", "not of the form"),
    ],
)
def test_a_wrong_reference_says_what_is_wrong(reference, message):
    with pytest.raises(LookupError, match=message):
        aj.get_score(reference)


def test_an_undeclared_function_is_a_score():
    def close(query, keys, *, width=2.0):
        return -jnp.abs(keys - query[None, :]).sum(-1) / width

    query, keys = np.ones(3, np.float32), np.zeros((4, 3), np.float32)
    narrow = functools.partial(close, width=1.0)
    assert aj.attend(query, keys, keys, score=close).weights.shape == (4,)
    assert aj.get_score(narrow)(query, keys)[0] == -3.0
    assert aj.get_score(narrow) != aj.get_score(close)


@pytest.mark.parametrize(
    "make",
    [
        lambda: functools.partial(aj.local_gaussian, sigma=2.0),
        lambda: aj.soft_cap("dot", 5.0),
        lambda: aj.with_alibi(aj.soft_cap("additive", 5.0), 0.5),
        lambda: functools.partial(aj.soft_cap("dot", 5.0), cap=3.0),
        lambda: functools.partial(aj.local_gaussian, sigma=np.array(2.0, np.float32)),
    ],
)
def test_equal_arguments_make_equal_scores(make):
    assert aj.get_score(make()) == aj.get_score(make())
    assert hash(aj.get_score(make())) == hash(aj.get_score(make()))
    assert repr(aj.get_score(make())) == repr(aj.get_score(make()))


def test_a_partial_binds_what_a_bare_function_needs():
    def shifted(query, keys, *, shift):
        return keys @ query + shift

    with pytest.raises(ValueError, match="takes 'shift'.*functools.partial"):
        aj.get_score(shifted)
    score = aj.get_score(functools.partial(shifted, shift=2.0))
    ones = np.ones((1, 1), np.float32)
    assert score(ones[0], ones)[0] == 3 and repr(score) == "shifted(shift=2.0)"
    nested = functools.partial(functools.partial(shifted, shift=2.0), shift=3.0)
    assert aj.get_score(nested)(ones[0], ones)[0] == 4


def test_different_arguments_make_different_scores():
    assert aj.soft_cap("dot", 5.0) != aj.soft_cap("dot", 6.0)
    assert aj.soft_cap("dot", 5.0) != aj.soft_cap("scaled_dot", 5.0)
    assert aj.with_alibi("dot", jnp.float32(0.5)) == aj.with_alibi("dot", 0.5)


def test_a_combinator_keeps_params_prepare_and_positions():
    inner = aj.get_score("additive")
    outer = aj.soft_cap(inner, 2.0)
    assert (outer.params, outer.prepare) == (inner.params, inner.prepare)
    assert not outer.positions and aj.with_alibi(outer, 1.0).positions
    assert aj.soft_cap("location", 1.0).positions


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        ({"params": {"w": "QZ"}}, "unknown letter 'Z'"),
        ({"params": {"u": "Q"}}, "given 'u', but its signature has no such"),
        ({}, r"takes 'w': declare it with register_score\(params="),
        ({"params": {"w": "QK"}, "positions": True}, "given 'key_length'"),
    ],
)
def test_declaration_and_signature_must_agree(declare, message):
    def mine(query, keys, *, w):
        return keys @ (query @ w)

    with pytest.raises(ValueError, match=message):
        aj.register_score(mine, **declare)
    assert "mine" not in aj.score_names()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (3, TypeError, "must be a function of .query, keys., not 3"),
        (lambda query: query, ValueError, r"must take \(query, keys\).*\(query\)"),
        (lambda query, keys, w: query, ValueError, r"by keyword.*\(query, keys, w\)"),
    ],
)
def test_what_is_no_function_of_query_and_keys_is_refused(function, error, message):
    with pytest.raises(error, match=message):
        aj.register_score(function)


def test_a_declaration_maps_names():
    with pytest.raises(TypeError, match=r"such as {\"w\": \"QK\"}, not be \['w'\]"):
        aj.register_score(params=["w"])


def test_a_taken_name_is_refused_and_the_same_cell_may_run_twice():
    def cell(scale):
        @aj.register_score
        def from_a_cell(query, keys):
            return keys @ query * scale

    cell(1)
    cell(3)
    ones = np.ones((1, 1), np.float32)
    assert aj.get_score("from_a_cell")(ones[0], ones)[0] == 3
    with pytest.raises(ValueError, match="the score name 'dot' is taken"):
        aj.register_score(lambda query, keys: keys @ query, name="dot")


def test_a_registered_function_is_found_without_rebinding_it():
    def plain(query, keys, *, w):
        return keys @ (query @ w)

    registered = aj.register_score(plain, params={"w": "QK"})
    assert aj.get_score(plain) is registered


def test_equal_declarations_are_equal():
    def declared():
        return aj.Param("", aj.log_constant(2.0))

    assert declared() == declared() and hash(declared()) == hash(declared())


def test_binding_a_learned_parameter_is_refused():
    with pytest.raises(ValueError, match="'v' is a learned parameter"):
        aj.get_score(functools.partial(aj.additive, v=np.ones(3)))
    with pytest.raises(ValueError, match="positional"):
        aj.get_score(functools.partial(aj.dot, np.ones(3)))


def test_a_traced_hyper_parameter_is_refused():
    keys = jnp.ones((2, 3))

    def loss(cap):
        return aj.attend(
            keys[0], keys, keys, score=functools.partial(aj.local_gaussian, sigma=cap)
        ).context.sum()

    with pytest.raises(TypeError, match="'sigma' of score 'local_gaussian' is traced"):
        jax.grad(loss)(1.0)
    with pytest.raises(TypeError, match="must be hashable"):
        aj.get_score(functools.partial(aj.local_gaussian, sigma=[1.0]))


def test_init_score_params():
    rng = jax.random.key(0)
    sizes = {"query_size": 3, "key_size": 4}
    assert aj.init_score_params(rng, "dot", **sizes) == {}
    shapes = jax.tree.map(
        jnp.shape, aj.init_score_params(rng, "additive", **sizes, alignment_size=5)
    )
    assert shapes == {"w_query": (3, 5), "w_key": (4, 5), "v": (5,)}
    default = aj.init_score_params(rng, "additive", **sizes)
    assert default["v"].shape == (4,), "A is the key size unless given"
    scalar = aj.init_score_params(rng, "cosine", **sizes)
    np.testing.assert_allclose(np.exp(scalar["log_scale"]), 10, rtol=1e-6)
    half = aj.init_score_params(rng, "bilinear", **sizes, dtype=jnp.bfloat16)
    assert half["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"alignment": 3}, "unknown size 'alignment'; sizes are .*alignment_size"),
        ({"alignment_size": 0}, "alignment_size must be an integer >= 1, not 0"),
        ({"alignment_size": 2.5}, "alignment_size must be an integer"),
    ],
)
def test_init_score_params_errors(sizes, message):
    with pytest.raises(ValueError, match=message):
        aj.init_score_params(
            jax.random.key(0), "additive", query_size=2, key_size=2, **sizes
        )


def test_missing_value_size_is_named():
    @aj.register_score(params={"w": "V"})
    def odd(query, keys, *, w):
        return keys @ query + w.sum()

    with pytest.raises(ValueError, match="needs value_size"):
        aj.init_score_params(jax.random.key(0), odd, query_size=2, key_size=2)


def test_a_score_looks_like_its_function():
    assert isinstance(aj.dot, Score)
    assert aj.dot.__name__ == "dot" and "q · k" in aj.dot.__doc__
    assert repr(aj.soft_cap("dot", 2.0)).startswith("_soft")
    score = functools.partial(aj.local_gaussian, sigma=np.ones(3, np.float32))
    assert repr(aj.get_score(score)) == "local_gaussian(sigma=<f4 array (3,)>)"


@pytest.mark.parametrize("score", aj.score_names())
def test_initial_scores_are_of_moderate_spread(score):
    """Unit-variance features must not saturate a softmax from the start, `dot` apart."""
    if score == "dot":
        return
    size = 256
    rng = np.random.default_rng(0)
    query = rng.standard_normal(size).astype(np.float32)
    keys = rng.standard_normal((64, size)).astype(np.float32)
    params = aj.init_score_params(
        jax.random.key(0), score, query_size=size, key_size=size
    )
    if score == "local_gaussian":
        query = query / 16
    output = aj.attention(
        query[None], keys, keys, score=score, params=params, statistics=("entropy",)
    )
    assert output.statistics["entropy"][0] > 0.25 * np.log(64)
