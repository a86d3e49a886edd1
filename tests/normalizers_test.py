"""What each normaliser promises beyond agreeing with its oracle."""

import functools

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attention_jax as aj
from tests import oracles
from tests.tolerances import assert_close

SCORES = np.array([1.0, 3.0, -2.0, 3.0, 0.5], np.float32)

# Of one length, to compile once: `where` makes them shorter.
rows = st.tuples(
    hnp.arrays(
        np.float32, 9, elements=st.floats(-50, 50, width=32, allow_subnormal=False)
    ),
    hnp.arrays(np.bool_, 9),
)


@pytest.mark.parametrize("name", aj.normalizer_names())
@settings(deadline=None, max_examples=40)
@given(row=rows)
def test_any_row_agrees_with_the_oracle(name, row):
    scores, where = row
    weights = np.asarray(aj.get_normalizer(name)(scores, where))
    expected = np.zeros(len(scores))
    if where.any():
        expected[where] = oracles.NORMALIZERS[name]([float(x) for x in scores[where]])
    # Scores up to 50 carry a rounding error of 50 · 2⁻²⁴ into the exponent.
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=2e-5)
    assert np.all(weights >= 0) and not np.any(weights[~where])


def test_temperature_runs_from_hard_to_uniform():
    scores = SCORES + np.arange(5, dtype=np.float32) / 100
    cold = functools.partial(aj.softmax, temperature=1e-4)
    hot = functools.partial(aj.softmax, temperature=1e6)
    assert_close(aj.get_normalizer(cold)(scores), aj.hardmax(scores))
    assert_close(aj.get_normalizer(hot)(scores), np.full(5, 0.2))
    with pytest.raises(ValueError, match="temperature must be positive, not 0"):
        aj.get_normalizer(functools.partial(aj.softmax, temperature=0))(scores)


def test_hardmax_takes_the_first_maximum():
    assert aj.hardmax(SCORES).tolist() == [0, 1, 0, 0, 0]
    where = np.array([True, False, True, True, True])
    assert aj.hardmax(SCORES, where).tolist() == [0, 0, 0, 1, 0]


def test_top_k_takes_8_unless_given_an_integer():
    def top(k):
        return aj.get_normalizer(functools.partial(aj.top_k_softmax, k=k))(SCORES)

    assert_close(top(50), aj.softmax(SCORES))
    tied = np.zeros(9, np.float32)
    assert (np.asarray(aj.top_k_softmax(tied)) > 0).tolist() == [True] * 8 + [False]
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        top(0)
    for k in (8.0, True, None):
        with pytest.raises(TypeError, match="top_k_softmax: k must be an integer, not"):
            top(k)


@pytest.mark.parametrize("implementation", aj.implementation_names())
def test_a_normaliser_may_count_on_where_if_there_is_a_mask(implementation):
    def uniform(scores, where):
        allowed = where.astype(scores.dtype)
        return allowed / allowed.sum(axis=-1, keepdims=True)

    keys = np.eye(3, dtype=np.float32)
    mask = np.array([True, True, False])
    out = aj.attention(
        keys, keys, keys, normalizer=uniform, mask=mask, implementation=implementation
    )
    assert_close(out.context, [[0.5, 0.5, 0]] * 3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
def test_thresholds_of_many_scores_in_few_digits(name, dtype):
    """Equal ones, whose threshold is nearly 0, and ones that leave the support one by one."""
    normalize = aj.get_normalizer(name)
    steps = jnp.arange(20_000.0)
    for scores in (jnp.full(20_000, 3.25), -1 / (1 + steps), -(2.0 ** -(steps / 300))):
        rounded = scores.astype(dtype)
        exact = np.asarray(normalize(rounded.astype(jnp.float32)))
        np.testing.assert_allclose(exact.sum(), 1, rtol=1e-5)
        weights = normalize(rounded).astype(jnp.float32)
        np.testing.assert_allclose(weights, exact, rtol=0.05, atol=0.05 * exact.max())


def test_a_users_normaliser_gets_the_promises_of_empty_rows():
    def naive(scores, where):
        """Divides by a sum that an empty row does not have."""
        squares = jnp.square(scores)
        if where is not None:
            squares = jnp.where(where, squares, 0)
        return squares / jnp.sum(squares, axis=-1, keepdims=True)

    normalize = aj.get_normalizer(naive)
    where = np.array([[True, True, False], [False] * 3])
    scores = np.array([[1.0, 3.0, np.nan], [np.nan, np.inf, 1.0]], np.float32)

    def total(scores):
        return jnp.sum(jnp.sin(normalize(scores, where)))

    assert_close(normalize(scores, where), [[0.1, 0.9, 0], [0, 0, 0]])
    gradient = jax.grad(total)(jnp.asarray(scores))
    assert not np.any(np.isnan(gradient[0])) and gradient[0, 2] == 0


@pytest.mark.parametrize(
    ("normalizer", "kind", "message"),
    [
        (lambda scores: scores, ValueError, r"must take \(scores, where\).*\(scores\)"),
        (
            functools.partial(aj.softmax, temp=2.0),
            ValueError,
            "'softmax' must take .* unexpected keyword argument 'temp'",
        ),
        (
            lambda s, w: s[..., :-1],
            ValueError,
            r"each score, \[5\], but returned \[4\]",
        ),
        (lambda s, w: None, TypeError, "must return an array .*, but returned None"),
        (lambda s, w: s > 0, TypeError, "floating-point weights, but returned bool"),
    ],
)
def test_what_is_no_normaliser_is_named(normalizer, kind, message):
    with pytest.raises(kind, match=message) as caught:
        aj.get_normalizer(normalizer)(SCORES)
    assert "the normalizer '" in str(caught.value)


def test_registering_and_getting():
    @aj.register_normalizer
    def halves(scores, where=None):
        return aj.softmax.function(scores, where) / 2

    assert aj.get_normalizer("halves") is halves
    assert aj.normalizer_names()[-1] == "halves"
    keys = np.ones((3, 2), np.float32)
    context = aj.attend(keys[0], keys, keys, normalizer="halves").context
    assert_close(context, [0.5] * 2)
    assert aj.get_normalizer("attention_jax:sparsemax") is aj.sparsemax
    cold = functools.partial(aj.softmax, temperature=0.5)
    assert repr(aj.get_normalizer(cold)) == "softmax(temperature=0.5)"
