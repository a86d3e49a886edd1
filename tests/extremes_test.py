"""Scores, temperatures and vectors as large, small or far away as numbers go."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from tests import oracles
from tests.tolerances import assert_close

RNG = np.random.default_rng(0)
INF = np.inf


def times_huge(query, keys):
    """A product and an addition that a compiler fuses with the maximum's subtraction."""
    return 1.37e12 * (keys @ query)


def oracle(scores, normalizer, where=None):
    """Weights in float64 of scores of which −inf is a masked one."""
    scores = np.asarray(scores, np.float64)
    allowed = ~np.isneginf(scores) if where is None else where & ~np.isneginf(scores)
    weights = np.zeros(len(scores))
    if allowed.any():
        weights[allowed] = oracles.NORMALIZERS[normalizer]([*scores[allowed]])
    return weights


@pytest.mark.parametrize("normalizer", aj.normalizer_names())
def test_every_row_of_huge_scores_is_a_distribution(normalizer):
    query, keys = (RNG.standard_normal((n, 16)).astype(np.float32) for n in (9, 40))
    ones = np.ones((40, 1), np.float32)
    out = aj.attention(
        query,
        keys,
        ones,
        score=times_huge,
        normalizer=normalizer,
        return_weights=True,
        statistics=("logsumexp",),
    )
    context = aj.attention(query, keys, ones, score=times_huge, normalizer=normalizer)
    expected = np.ones(9)
    scores = 1.37e12 * (query.astype(np.float64) @ keys.T.astype(np.float64))
    if normalizer == "sigmoid":
        expected = (scores > 0).sum(axis=-1)
    assert_close(out.weights.sum(-1), expected)
    assert_close(context.context[:, 0], expected)
    np.testing.assert_allclose(out.statistics["logsumexp"], scores.max(-1), rtol=1e-5)


@pytest.mark.parametrize("temperature", [1e-45, 1e-8, 1e-3, 1e300])
def test_any_temperature(temperature):
    normalizer = functools.partial(aj.softmax, temperature=temperature)
    query, keys = (RNG.standard_normal((n, 16)).astype(np.float32) for n in (5, 40))
    mask = np.arange(40) < 30
    given = {
        "score": lambda q, k: 0.7 * (k @ q),
        "normalizer": normalizer,
        "mask": mask,
    }
    weights = aj.attention(query, keys, keys, return_weights=True, **given).weights
    assert_close(weights.sum(-1), np.ones(5))
    if temperature >= 1e30:
        assert_close(weights, np.broadcast_to(mask / 30, (5, 40)))
    if temperature <= 1e-8:
        scores = np.where(mask, query @ keys.T, -np.inf)
        assert_close(weights, scores.max(-1, keepdims=True) == scores)
    gradient = jax.grad(lambda q: aj.attention(q, keys, keys, **given).context.sum())
    assert np.all(np.isfinite(gradient(jnp.asarray(query))))


@pytest.mark.parametrize("normalizer", aj.normalizer_names())
def test_scores_of_minus_infinity_have_weight_and_gradient_0(normalizer):
    rows = np.array(
        [[-INF] * 4, [-INF, 0.5, -INF, 1.0], [2.0, -INF, -INF, -INF], [0, -1, -2, 1]],
        np.float32,
    )
    normalize = aj.get_normalizer(normalizer)

    def total(rows, *where):
        weights = normalize(rows, *where)
        return jnp.sum(jnp.sin(3 * weights)), weights

    @jax.jit
    def described(*given):
        (_, weights), gradient = jax.value_and_grad(total, has_aux=True)(*given)
        forwards = jax.jvp(
            lambda rows: total(rows, *given[1:])[0], given[:1], given[:1]
        )
        return weights, gradient, forwards[1]

    for where in (np.ones(4, bool), np.array([True, True, True, False])):
        given = () if where.all() else (np.broadcast_to(where, rows.shape),)
        weights, gradient, _ = described(jnp.asarray(rows), *given)
        for row, found in zip(rows, np.asarray(weights), strict=True):
            assert_close(found, oracle(row, normalizer, where))
        assert np.all(np.isfinite(gradient))
        assert not np.asarray(gradient)[np.isneginf(rows)].any()


def test_statistics_where_every_score_is_minus_infinity():
    def score(query, keys):
        return jnp.where(query[0] > keys[:, 0], keys @ query, -jnp.inf)

    query, keys = np.array([[-3.0], [2.0]], np.float32), np.ones((4, 1), np.float32)

    def of(query):
        return aj.attention(
            query, keys, keys, score=score, statistics=aj.statistic_names()
        ).statistics

    found = of(query)
    np.testing.assert_allclose(found["logsumexp"], [-INF, 2 + np.log(4)], rtol=1e-6)
    np.testing.assert_allclose(found["entropy"], [0, np.log(4)], rtol=1e-6)
    gradient = jax.grad(lambda q: of(q)["logsumexp"][1] + of(q)["entropy"].sum())
    assert np.all(np.isfinite(gradient(jnp.asarray(query))))


@pytest.mark.parametrize("size", [1e-35, 3e19])
def test_cosine_of_vectors_of_any_length(size):
    query, keys = (RNG.standard_normal(shape) for shape in ((4,), (6, 4)))
    params = {"log_scale": np.float32(1.0)}

    def weights(query, keys):
        return aj.attend(query, keys, keys, score="cosine", params=params).weights

    small = np.float32(size)
    expected = weights(query.astype(np.float32), keys.astype(np.float32))
    found = weights(query.astype(np.float32) * small, keys.astype(np.float32) / small)
    assert_close(found, expected)

    def first(query):
        return weights(query, keys.astype(np.float32))[0]

    gradient = np.asarray(jax.grad(first)(jnp.asarray(query * size, jnp.float32)))
    plain = np.asarray(jax.grad(first)(jnp.asarray(query, jnp.float32)))
    np.testing.assert_allclose(gradient * small, plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("implementation", "features"), [("reference", 2), ("chunked", 64)]
)
@pytest.mark.parametrize("offset", [0.0, 3_000.0, 1e5])
def test_euclidean_of_near_points_far_from_the_origin(offset, features, implementation):
    """Beside them keys near the origin, a masked one far away, and padding."""
    near = RNG.standard_normal((9, features))
    query = np.concatenate([near[:3] + offset, near[3:5]]).astype(np.float32)
    keys = np.concatenate([near[2:] + offset, near[:4], np.full((1, features), 1e15)])
    keys = np.concatenate([keys, np.zeros((3, features))]).astype(np.float32)
    mask = np.tile(np.arange(len(keys)) < 11, (5, 1))
    mask[0, 4] = False
    values = RNG.standard_normal((len(keys), 3)).astype(np.float32)
    params = {"log_sigma": np.float32(np.log(2.0))}

    def attend(query, keys):
        return aj.attention(
            query,
            keys,
            values,
            score="euclidean",
            params=params,
            mask=mask,
            implementation=implementation,
            chunk_size=2,
        ).context

    exact = [x.astype(np.float64) for x in (query, keys, values)]
    expected, weights, _ = oracles.attention(
        *exact, mask, score="euclidean", normalizer="softmax", params=params
    )
    assert_close(attend(query, keys), expected)
    assert_close(attend(query, aj.prepare_keys("euclidean", keys, params)), expected)
    # d context / d q = Σ a_i (v_i − o) (k_i − q) / σ²
    by_query = jax.grad(lambda q: attend(q, keys).sum())(jnp.asarray(query))
    pulled = weights * (exact[2].sum(-1) - expected.sum(-1, keepdims=True))
    pulled = pulled @ np.where(mask.any(0)[:, None], exact[1], 0)
    pulled -= (weights * (exact[2].sum(-1) - expected.sum(-1, keepdims=True))).sum(
        -1, keepdims=True
    ) * exact[0]
    np.testing.assert_allclose(by_query, pulled / 4, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("log_sigma", [-30.0, -10.0])
def test_euclidean_with_a_small_sigma_is_the_nearest(log_sigma):
    query, keys = (RNG.standard_normal((n, 8)).astype(np.float32) for n in (5, 30))
    params = {"log_sigma": np.float32(log_sigma)}
    given = {"score": "euclidean", "params": params}
    found = aj.attention(query, keys, keys, return_weights=True, **given).weights
    nearest = ((query[:, None] - keys) ** 2).sum(-1).argmin(-1)
    assert_close(found, np.eye(30)[nearest])
