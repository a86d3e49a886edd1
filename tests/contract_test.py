"""The promises of `attention`, for every registered score, normaliser and implementation."""

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.test_util import check_grads

import attention_jax as aj
from attention_jax import masks
from attention_jax.attention import attend_checked
from tests import oracles
from tests.attention_cases import (
    IMPLEMENTATIONS,
    PAIRED_SCORES,
    arrays,
    as_float64,
    pairs,
    run,
)
from tests.tolerances import BACKWARD, assert_close

# hardmax is differentiated as softmax and so has no derivative of its own to check.
DIFFERENTIABLE = list(
    pairs(lambda score, normalizer: normalizer != "hardmax", paired=PAIRED_SCORES[:1])
)
# For promises that no normaliser's code bears on, one score each is enough to be fast.
FEWER = list(pairs(paired=PAIRED_SCORES[:1]))


@pytest.mark.parametrize(("score", "normalizer"), list(pairs()))
def test_agrees_with_the_oracle(score, normalizer):
    case = arrays(score)
    output = run(
        case,
        score,
        normalizer,
        return_weights=True,
        statistics=aj.statistic_names(),
    )
    exact = as_float64(case)
    context, weights, statistics = oracles.attention(
        *exact[:3], exact.mask, score=score, normalizer=normalizer, params=exact.params
    )
    assert_close(output.context, context)
    assert_close(output.weights, weights)
    # Without weights or statistics the context is computed another way.
    assert_close(run(case, score, normalizer).context, context)
    assert set(output.statistics) == set(statistics)
    for name, expected in statistics.items():
        assert_close(output.statistics[name], expected, err_msg=name)


@pytest.mark.parametrize("implementation", ["reference", *IMPLEMENTATIONS])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("score", aj.score_names())
def test_dtypes(score, dtype, implementation, x64):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    case = arrays(score, dtype=kind)
    output = run(
        case,
        score,
        "softmax",
        return_weights=True,
        implementation=implementation,
        chunk_size=2,
    )
    exact = as_float64(case)
    context, weights, _ = oracles.attention(
        *exact[:3], exact.mask, score=score, normalizer="softmax", params=exact.params
    )
    assert output.context.dtype == output.weights.dtype == kind
    assert_close(output.context, context, dtype)
    assert_close(output.weights, weights, dtype)


@pytest.mark.parametrize("normalizer", aj.normalizer_names())
def test_float64_stays_float64(normalizer, x64):
    """1e-10 is out of reach if any step were done in float32."""
    case = arrays("scaled_dot", dtype="float64")
    output = run(case, "scaled_dot", normalizer)
    context, _, _ = oracles.attention(
        *case[:3], case.mask, score="scaled_dot", normalizer=normalizer, params={}
    )
    assert_close(output.context, context, "float64")


@pytest.mark.parametrize(
    ("score", "normalizer", "implementation"),
    [
        pytest.param(*pair.values, name, marks=pair.marks)
        for pair in FEWER
        for name in ("reference", *IMPLEMENTATIONS)
        # The keys are silenced before any kernel's own code: two scores show it.
        if name == "reference" or pair.values[0] in PAIRED_SCORES or pair.marks
    ],
)
def test_empty_rows_and_masked_nans_reach_nothing(score, normalizer, implementation):
    """The last query attends to nothing; the third key is masked for every query."""
    case = arrays(score)

    def total(query, keys, values, params):
        output = run(
            case._replace(query=query, keys=keys, values=values, params=params),
            score,
            normalizer,
            return_weights=True,
            statistics=("entropy", "max_weight", "logsumexp"),
            implementation=implementation,
            chunk_size=2,
        )
        finite = [jnp.where(jnp.isfinite(x), x, 0) for x in output.statistics.values()]
        return jnp.sum(jnp.sin(output.context)) + sum(map(jnp.sum, finite)), output

    poisoned = case._replace(keys=case.keys.copy(), values=case.values.copy())
    poisoned.keys[2] = [np.nan, np.inf, -np.inf, np.nan, 1e38, 0]
    poisoned.values[2] = [np.inf, np.nan, -np.inf, 1]
    gradient = jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True)
    clean_gradients, clean = gradient(*case[:4])
    gradients, output = gradient(*poisoned[:4])

    np.testing.assert_array_equal(output.context, clean.context)
    np.testing.assert_array_equal(output.weights, clean.weights)
    jax.tree.map(np.testing.assert_array_equal, gradients, clean_gradients)
    assert np.all(np.isfinite(np.concatenate([g.ravel() for g in gradients[:3]])))
    assert not np.any(output.context[-1]) and not np.any(output.weights[-1])
    assert not np.any(gradients[0][-1]), "an empty row's query has gradient 0"
    assert not np.any(gradients[1][2]) and not np.any(gradients[2][2])


@pytest.mark.parametrize(("score", "normalizer"), FEWER)
def test_masking_trailing_keys_is_removing_them(score, normalizer):
    case = arrays(score)
    short = case._replace(
        keys=case.keys[:5], values=case.values[:5], mask=case.mask[:, :5]
    )
    removed = run(short, score, normalizer, return_weights=True)
    both = masks.dense(case.mask) & masks.padding(5)
    masked = run(case, score, normalizer, mask=both, return_weights=True)
    assert_close(masked.context, removed.context)
    assert_close(masked.weights[:, :5], removed.weights)
    assert not np.any(masked.weights[:, 5:])


@pytest.mark.parametrize(("score", "normalizer"), FEWER)
def test_permuting_keys_permutes_weights(score, normalizer):
    case = arrays(score)
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    straight = run(case, score, normalizer, return_weights=True)
    permuted = run(
        case._replace(keys=case.keys[order], values=case.values[order]),
        score,
        normalizer,
        mask=case.mask[:, order],
        key_positions=np.arange(7)[order],
        return_weights=True,
    )
    assert_close(permuted.context, straight.context)
    assert_close(permuted.weights, np.asarray(straight.weights)[:, order])


@pytest.mark.parametrize(("score", "normalizer"), FEWER)
def test_batched_is_vmap_is_a_loop_is_jit(score, normalizer):
    case = arrays(score, leading=(2, 3))
    batched = run(case, score, normalizer)

    def one(query, keys, values, mask):
        inner = case._replace(query=query, keys=keys, values=values, mask=mask)
        return run(inner, score, normalizer).context

    every = (case.query, case.keys, case.values, case.mask)
    mapped = jax.vmap(jax.vmap(one))(*every)
    compiled = jax.jit(jax.vmap(jax.vmap(one)))(*every)
    assert_close(mapped, batched.context)
    assert_close(compiled, batched.context)
    for b, h, t in ((0, 0, 0), (1, 2, 3), (0, 1, 4)):
        alone = aj.attend(
            case.query[b, h, t],
            case.keys[b, h],
            case.values[b, h],
            score=score,
            normalizer=normalizer,
            where=case.mask[b, h, t],
            params=case.params,
            query_position=t,
        )
        assert_close(alone.context, batched.context[b, h, t])


@pytest.mark.parametrize("T", [0, 1, 13])
@pytest.mark.parametrize("S", [0, 1, 11])
@pytest.mark.parametrize("score", aj.score_names())
def test_odd_sizes(score, T, S):
    case = arrays(score, T=T, S=S, V=3)
    output = run(
        case, score, "softmax", return_weights=True, statistics=aj.statistic_names()
    )
    exact = as_float64(case)
    context, weights, statistics = oracles.attention(
        *exact[:3], exact.mask, score=score, normalizer="softmax", params=exact.params
    )
    assert_close(output.context, context)
    assert_close(output.weights, weights)
    for name, expected in statistics.items():
        assert_close(output.statistics[name], expected, err_msg=name)


@pytest.mark.parametrize("implementation", ["reference", *IMPLEMENTATIONS])
@pytest.mark.parametrize("shared", [False, True])
def test_masked_nans_with_leading_axes_and_shared_keys(implementation, shared):
    """A key shared by heads is silenced only if no head attends to it."""
    case = arrays("additive", leading=(2, 3))
    if shared:
        case = case._replace(keys=case.keys[:, :1], values=case.values[:, :1])
    mask = masks.dense(case.mask) & masks.padding([[7], [5]])
    given = {"mask": mask, "implementation": implementation, "chunk_size": 2}
    clean = run(case, "additive", "softmax", **given)
    for array in (case.keys, case.values):
        array[:, :, 2] = np.nan
        array[1, :, 5:] = np.inf
    poisoned = run(case, "additive", "softmax", **given)
    np.testing.assert_array_equal(poisoned.context, clean.context)


def test_attend_silences_what_is_masked():
    case = arrays("additive")
    case.keys[2], case.values[2] = np.nan, np.inf

    def total(query, keys, values, params):
        return jnp.sum(
            aj.attend(
                query[0],
                keys,
                values,
                score="additive",
                where=np.arange(7) != 2,
                params=params,
            ).context
        )

    gradients = jax.grad(total, argnums=(0, 1, 2, 3))(*case[:4])
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("normalizer", aj.normalizer_names())
def test_no_keys_at_all(normalizer):
    case = arrays("scaled_dot", S=0)
    for mask in (None, case.mask):
        output = run(case, "scaled_dot", normalizer, mask=mask, return_weights=True)
        assert output.weights.shape == (5, 0)
        np.testing.assert_array_equal(output.context, np.zeros((5, 4), np.float32))


@pytest.mark.parametrize(("score", "normalizer"), DIFFERENTIABLE)
def test_derivatives_against_finite_differences(score, normalizer, x64):
    """Forward and reverse mode, with a mask and an empty row; one score to second order."""
    case = arrays(score, T=3, S=5, dtype="float64")

    def context(query, keys, values, params):
        inner = case._replace(query=query, keys=keys, values=values, params=params)
        return run(inner, score, normalizer).context

    second = score == "scaled_dot" and normalizer in ("softmax", "entmax15")
    order = 2 if second else 1
    check_grads(
        context, case[:4], order=order, modes=("fwd", "rev"), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("score", PAIRED_SCORES)
def test_hardmax_is_differentiated_as_softmax(score):
    case = arrays(score)

    def first_value(query, normalizer):
        inner = case._replace(query=query, values=case.values)
        return run(inner, score, normalizer).context.sum()

    assert_close(
        jax.grad(first_value)(case.query, "hardmax"),
        jax.grad(first_value)(case.query, "softmax"),
        table=BACKWARD,
    )


@pytest.mark.parametrize("score", aj.score_names())
def test_prepared_keys_give_the_same(score):
    case = arrays(score, leading=(2, 3))
    prepared = aj.prepare_keys(score, case.keys, case.params)
    given = {"score": score, "params": case.params}
    together = run(case, score, "softmax").context
    once = aj.attention(case.query, prepared, case.values, mask=case.mask, **given)
    assert_close(once.context, together)
    step = jax.vmap(
        jax.vmap(lambda q, k, v, m: aj.attention(q, k, v, mask=m, **given).context)
    )(case.query, prepared, case.values, case.mask)
    assert_close(step, together)
    alone = aj.attend(
        case.query[1, 2, 0],
        jax.tree.map(lambda x: x[1, 2], prepared),
        case.values[1, 2],
        **given,
        where=case.mask[1, 2, 0],
    )
    assert_close(alone.context, together[1, 2, 0])


@pytest.mark.parametrize("score", aj.score_names())
def test_one_head_of_keys_serves_many_heads_of_queries(score):
    case = arrays(score, leading=(2, 3))
    keys, values, mask = case.keys[:, :1], case.values[:, :1], case.mask[:, :1]
    shared = run(case._replace(keys=keys, values=values, mask=mask), score, "softmax")
    copied = run(
        case._replace(
            keys=np.repeat(keys, 3, 1),
            values=np.repeat(values, 3, 1),
            mask=np.repeat(mask, 3, 1),
        ),
        score,
        "softmax",
    )
    assert_close(shared.context, copied.context)


@pytest.mark.parametrize("score", aj.score_names())
def test_one_decoding_step_is_a_row_of_the_whole(score):
    case = arrays(score, T=6, S=6)
    whole = run(case, score, "softmax", mask=masks.causal())
    for t in (0, 3, 5):
        step = run(
            case._replace(query=case.query[t : t + 1]),
            score,
            "softmax",
            mask=masks.causal(),
            query_positions=[t],
        )
        assert_close(step.context[0], whole.context[t])


@pytest.mark.parametrize(("score", "normalizer"), FEWER)
def test_a_second_call_does_not_trace_and_repeats_bit_for_bit(score, normalizer):
    first = run(arrays(score, seed=1), score, normalizer)
    before = attend_checked._cache_size()
    second = run(arrays(score, seed=1), score, normalizer)
    run(arrays(score, seed=2), aj.get_score(score), aj.get_normalizer(normalizer))
    assert attend_checked._cache_size() == before
    np.testing.assert_array_equal(first.context, second.context)


@pytest.mark.parametrize(
    "equal",
    [
        lambda: functools.partial(aj.softmax, temperature=0.5),
        lambda: functools.partial(aj.top_k_softmax, k=3),
    ],
)
def test_equal_partials_share_a_compilation(equal):
    case = arrays("scaled_dot")
    run(case, aj.soft_cap("scaled_dot", 3.0), equal())
    before = attend_checked._cache_size()
    run(case, aj.soft_cap("scaled_dot", 3.0), equal())
    assert attend_checked._cache_size() == before


@pytest.mark.parametrize("score", aj.score_names())
@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax"])
def test_no_nan_is_made_on_the_way(score, normalizer):
    """`jax_debug_nans` sees intermediate values too."""
    case = arrays(score)
    with jax.debug_nans(True):
        jax.grad(
            lambda q: run(case._replace(query=q), score, normalizer).context.sum()
        )(case.query)


def test_dropout_keeps_the_mean_and_drops_by_row():
    case = arrays("dot", T=400, S=30)._replace(mask=None)
    values = np.ones((30, 1), np.float32)
    rate = 0.4

    def contexts(**arguments):
        inner = case._replace(values=values)
        return run(
            inner, "dot", "sigmoid", mask=None, dropout_rate=rate, **arguments
        ).context

    dropped = contexts(dropout_rng=jax.random.key(0))
    plain = run(case._replace(values=values), "dot", "sigmoid", mask=None).context
    # 400 sums of 30 weights: the mean's standard deviation is about 0.5 %.
    np.testing.assert_allclose(np.mean(dropped), np.mean(plain), rtol=0.03)
    np.testing.assert_array_equal(dropped, contexts(dropout_rng=jax.random.key(0)))
    assert np.any(dropped != contexts(dropout_rng=jax.random.key(1)))
    raw = contexts(dropout_rng=jax.random.PRNGKey(0))
    np.testing.assert_array_equal(dropped, raw)
