"""What each score reduces to, and where it must not break."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from tests.tolerances import assert_close

RNG = np.random.default_rng(0)
QUERY = RNG.standard_normal(4).astype(np.float32)
KEYS = RNG.standard_normal((6, 4)).astype(np.float32)
POSITIONS = {
    "query_position": jnp.int32(2),
    "key_positions": jnp.arange(6),
    "key_length": jnp.int32(6),
}


def scored(score, **params):
    score = aj.get_score(score)
    keys = score.prepare(KEYS, **params) if score.prepare else KEYS
    positions = POSITIONS if score.positions else {}
    return score(QUERY, keys, **params, **positions)


def test_scaled_dot_is_dot_over_root_q():
    assert_close(scored("scaled_dot"), scored("dot") / 2)


def test_bilinear_with_the_identity_is_dot():
    assert_close(scored("bilinear", w=jnp.eye(4)), scored("dot"))


def test_low_rank_bilinear_is_bilinear_with_the_product():
    u, v = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    assert_close(
        scored("low_rank_bilinear", w_query=u, w_key=v),
        scored("bilinear", w=jnp.asarray(u @ v.T)),
    )


def test_cosine_of_unit_vectors_is_dot():
    log_scale = jnp.float32(0.0)
    unit = aj.attention(
        (QUERY / np.linalg.norm(QUERY))[None],
        KEYS / np.linalg.norm(KEYS, axis=1, keepdims=True),
        KEYS,
        score="dot",
    )
    cosine = aj.attention(
        QUERY[None], KEYS, KEYS, score="cosine", params={"log_scale": log_scale}
    )
    assert_close(cosine.context, unit.context)
    assert np.all(np.abs(scored("cosine", log_scale=log_scale)) <= 1)


def test_cosine_is_zero_with_zero_gradient_at_a_zero_vector():
    log_scale = {"log_scale": jnp.float32(1.0)}

    def weights(query, keys):
        return aj.attend(query, keys, KEYS, score="cosine", params=log_scale)

    zero_query = jnp.zeros(4)
    assert_close(weights(zero_query, KEYS).weights, np.full(6, 1 / 6))
    gradient = jax.grad(lambda q: weights(q, KEYS).context.sum())(zero_query)
    np.testing.assert_array_equal(gradient, 0)
    zero_key = jnp.asarray(KEYS).at[1].set(0)
    by_key = jax.grad(lambda k: weights(QUERY, k).context.sum())(zero_key)
    assert np.all(np.isfinite(by_key)) and not np.any(by_key[1])


def test_euclidean_with_keys_of_one_length_attends_as_dot():
    unit = KEYS / np.linalg.norm(KEYS, axis=1, keepdims=True)
    params = {"log_sigma": jnp.float32(0.0)}
    near = aj.attend(QUERY, unit, KEYS, score="euclidean", params=params)
    assert_close(near.weights, aj.attend(QUERY, unit, KEYS, score="dot").weights)


def test_euclidean_is_largest_at_the_query_itself():
    keys = np.concatenate([KEYS, QUERY[None]])
    params = {"log_sigma": jnp.float32(-1.0)}
    weights = aj.attend(QUERY, keys, keys, score="euclidean", params=params).weights
    assert np.argmax(weights) == 6


def test_location_reads_no_key():
    params = aj.init_score_params(
        jax.random.key(0), "location", query_size=4, key_size=4
    )
    other = aj.attend(QUERY, KEYS * 7 - 1, KEYS, score="location", params=params)
    same = aj.attend(QUERY, KEYS, KEYS, score="location", params=params)
    np.testing.assert_array_equal(other.weights, same.weights)


def test_local_gaussian_with_a_wide_window_is_dot():
    params = aj.init_score_params(
        jax.random.key(0), "local_gaussian", query_size=4, key_size=4
    )
    wide = functools.partial(aj.local_gaussian, sigma=1e6)
    assert_close(scored(wide, **params), scored("dot"))
    with pytest.raises(ValueError, match="sigma must be positive"):
        scored(functools.partial(aj.local_gaussian, sigma=0.0), **params)


def test_soft_cap_bounds_and_becomes_its_score():
    assert np.all(np.abs(scored(aj.soft_cap("dot", 0.5))) <= 0.5)
    assert_close(scored(aj.soft_cap("dot", 1e4)), scored("dot"))
    with pytest.raises(ValueError, match="cap must be positive"):
        aj.soft_cap("dot", -1.0)


def test_alibi_penalises_distance():
    expected = scored("dot") - 0.5 * np.abs(np.arange(6) - 2)
    assert_close(scored(aj.with_alibi("dot", 0.5)), expected)
    assert_close(scored(aj.with_alibi("dot", 0.0)), scored("dot"))
    both = aj.with_alibi(aj.soft_cap("dot", 2.0), 0.5)
    assert_close(
        scored(both), scored(aj.soft_cap("dot", 2.0)) - 0.5 * np.abs(np.arange(6) - 2)
    )


@pytest.mark.parametrize(
    "score", ["dot", "scaled_dot", "cosine", "euclidean", "local_gaussian"]
)
def test_scores_that_need_one_size_say_so(score):
    params = aj.init_score_params(jax.random.key(0), score, query_size=4, key_size=5)
    keys = np.ones((3, 5), np.float32)
    with pytest.raises(ValueError, match=f"{score} needs queries and keys of one size"):
        aj.attend(QUERY, keys, keys, score=score, params=params)


@pytest.mark.parametrize("score", ["bilinear", "low_rank_bilinear", "additive"])
def test_scores_for_any_sizes(score):
    params = aj.init_score_params(jax.random.key(0), score, query_size=4, key_size=5)
    keys = np.ones((3, 5), np.float32)
    assert aj.attend(QUERY, keys, keys, score=score, params=params).context.shape == (
        5,
    )
