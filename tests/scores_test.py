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


def test_products_reduce_to_dot():
    assert_close(scored("scaled_dot"), scored("dot") / 2)
    assert_close(scored("bilinear", w=jnp.eye(4)), scored("dot"))
    u, v = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    low_rank = scored("low_rank_bilinear", w_query=u, w_key=v)
    assert_close(low_rank, scored("bilinear", w=jnp.asarray(u @ v.T)))


def test_cosine_of_unit_vectors_is_dot():
    params = {"log_scale": jnp.float32(0.0)}
    query = QUERY / np.linalg.norm(QUERY)
    unit = KEYS / np.linalg.norm(KEYS, axis=1, keepdims=True)
    cosine = aj.attend(QUERY, KEYS, KEYS, score="cosine", params=params)
    assert_close(cosine.weights, aj.attend(query, unit, KEYS, score="dot").weights)
    assert np.all(np.abs(scored("cosine", **params)) <= 1)


def test_cosine_is_zero_with_zero_gradient_at_a_zero_vector():
    params = {"log_scale": jnp.float32(1.0)}

    def total(query, keys):
        attended = aj.attend(query, keys, KEYS, score="cosine", params=params)
        return attended.context.sum(), attended.weights

    gradient = jax.grad(total, argnums=(0, 1), has_aux=True)
    (by_query, _), weights = gradient(jnp.zeros(4), jnp.asarray(KEYS))
    assert_close(weights, np.full(6, 1 / 6))
    np.testing.assert_array_equal(by_query, 0)
    (_, by_key), _ = gradient(jnp.asarray(QUERY), jnp.asarray(KEYS).at[1].set(0))
    assert np.all(np.isfinite(by_key)) and not np.any(by_key[1])


def test_euclidean_with_keys_of_one_length_attends_as_dot():
    unit = KEYS / np.linalg.norm(KEYS, axis=1, keepdims=True)
    params = {"log_sigma": jnp.float32(0.0)}
    near = aj.attend(QUERY, unit, KEYS, score="euclidean", params=params)
    assert_close(near.weights, aj.attend(QUERY, unit, KEYS, score="dot").weights)
    keys = np.concatenate([KEYS, QUERY[None]])
    params = {"log_sigma": jnp.float32(-1.0)}
    weights = aj.attend(QUERY, keys, keys, score="euclidean", params=params).weights
    assert np.argmax(weights) == 6  # the query itself


def initialised(score, key_size=4):
    return aj.init_score_params(
        jax.random.key(0), score, query_size=4, key_size=key_size
    )


def test_location_reads_no_key():
    given = {"score": "location", "params": initialised("location")}
    other, same = (aj.attend(QUERY, k, KEYS, **given) for k in (KEYS * 7 - 1, KEYS))
    np.testing.assert_array_equal(other.weights, same.weights)


def test_local_gaussian_with_a_wide_window_is_dot():
    params = initialised("local_gaussian")
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
    distance = np.abs(np.arange(6) - 2)
    assert_close(scored(aj.with_alibi("dot", 0.5)), scored("dot") - 0.5 * distance)
    assert_close(scored(aj.with_alibi("dot", 0.0)), scored("dot"))
    capped = aj.soft_cap("dot", 2.0)
    assert_close(scored(aj.with_alibi(capped, 0.5)), scored(capped) - 0.5 * distance)


@pytest.mark.parametrize("score", aj.score_names())
def test_scores_that_need_one_size_say_so(score):
    keys = np.ones((3, 5), np.float32)
    given = {"score": score, "params": initialised(score, key_size=5)}
    if score in ("bilinear", "low_rank_bilinear", "additive", "location"):
        assert aj.attend(QUERY, keys, keys, **given).context.shape == (5,)
        return
    with pytest.raises(ValueError, match=f"{score} needs queries and keys of one size"):
        aj.attend(QUERY, keys, keys, **given)
