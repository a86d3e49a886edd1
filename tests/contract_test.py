"""The promises of `attention`, for every registered score, normaliser and implementation.

The checks of `check_score` are run for all of them; beside them stand float64 oracles, dtypes
and what no score or normaliser has a part in.
"""

import functools

import jax
import ml_dtypes
import numpy as np
import pytest
from jax.test_util import check_grads

import attention_jax as aj
from attention_jax import masks
from attention_jax.attention import attend_checked
from attention_jax.testing.checks import CHECKS, PASSED, run_check
from attention_jax.testing.subject import Subject
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

# hardmax is differentiated as softmax and so has no derivative of its own to check; `gradients`
# of `check_score` checks that of every score.
DIFFERENTIABLE = [
    pair
    if pair.values[0] in (*PAIRED_SCORES, "local_gaussian")
    else pytest.param(*pair.values, marks=pytest.mark.full)
    for pair in pairs(
        lambda score, normalizer: normalizer != "hardmax", paired=PAIRED_SCORES[:1]
    )
]
# For promises that no normaliser's code bears on, one score each is enough to be fast.
FEWER = list(pairs(paired=PAIRED_SCORES[:1]))
FULL, FAST = pytest.mark.full, [(score, "softmax") for score in PAIRED_SCORES]


# The checks that are about attention with a score.
OF_ATTENTION = ["compiles once", "masked keys", "variants"]


def keeps(names, score, normalizer, implementation="reference"):
    """Runs checks of `check_score`."""
    subject = Subject(score, normalizer=normalizer, implementation=implementation)
    for check in CHECKS:
        if check.name in names:
            result = run_check(check, subject)
            assert result.status == PASSED, result


def agrees(case, score, normalizer, dtype="float32", **options):
    """Holds context, weights and statistics to the float64 oracle's; returns its context."""
    given = {"return_weights": True, "statistics": aj.statistic_names(), **options}
    output = run(case, score, normalizer, **given)
    exact = as_float64(case)
    context, weights, statistics = oracles.attention(
        *exact[:3], exact.mask, score=score, normalizer=normalizer, params=exact.params
    )
    assert output.context.dtype == output.weights.dtype == case.query.dtype
    assert_close(output.context, context, dtype)
    assert_close(output.weights, weights, dtype)
    assert set(output.statistics) == set(given["statistics"])
    for name, found in output.statistics.items():
        assert_close(found, statistics[name], err_msg=name)
    return context


@pytest.mark.parametrize(("score", "normalizer"), list(pairs()))
def test_agrees_with_the_oracle(score, normalizer):
    case = arrays(score)
    context = agrees(case, score, normalizer)
    # Without weights or statistics the context is computed another way.
    assert_close(run(case, score, normalizer).context, context)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("score", "implementation"),
    [
        *((score, "reference") for score in aj.score_names()),
        *((score, name) for score in PAIRED_SCORES for name in IMPLEMENTATIONS),
    ],
)
def test_dtypes(score, dtype, implementation, x64):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    options = {"implementation": implementation, "chunk_size": 2, "statistics": ()}
    agrees(arrays(score, dtype=kind), score, "softmax", dtype, **options)


@pytest.mark.parametrize("normalizer", aj.normalizer_names())
def test_float64_stays_float64(normalizer, x64):
    """1e-10 is out of reach if any step were done in float32."""
    case = arrays("scaled_dot", dtype="float64")
    agrees(case, "scaled_dot", normalizer, "float64", statistics=())


@pytest.mark.parametrize(("T", "S"), [(0, 0), (0, 11), (13, 0), (1, 1), (13, 11)])
@pytest.mark.parametrize("score", aj.score_names())
def test_odd_sizes(score, T, S):
    agrees(arrays(score, T=T, S=S, V=3), score, "softmax")


@pytest.mark.parametrize(("score", "normalizer"), FEWER)
def test_keeps_what_check_score_checks(score, normalizer):
    keeps(OF_ATTENTION, score, normalizer)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("score", "normalizer"),
    [
        # Keys are silenced before any kernel's own code: two scores show it.
        pair if pair.values in FAST else pytest.param(*pair.values, marks=FULL)
        for pair in FEWER
    ],
)
def test_masked_keys_reach_nothing_in_any_kernel(score, normalizer, implementation):
    keeps(["masked keys"], score, normalizer, implementation)


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


@pytest.mark.parametrize(("score", "normalizer"), DIFFERENTIABLE)
def test_derivatives_against_finite_differences(score, normalizer, x64):
    """Forward and reverse mode, with a mask and an empty row; one pair to second order."""
    case = arrays(score, T=3, S=5, dtype="float64")

    def context(query, keys, values, params):
        inner = case._replace(query=query, keys=keys, values=values, params=params)
        return run(inner, score, normalizer).context

    order = 2 if (score, normalizer) == ("scaled_dot", "entmax15") else 1
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


@pytest.mark.parametrize(
    "score", [name for name in aj.score_names() if aj.get_score(name).prepare]
)
def test_prepared_keys_give_the_same(score):
    case = arrays(score, leading=(2, 3))
    prepared = aj.prepare_keys(score, case.keys, case.params)
    given = {"score": score, "params": case.params}
    together = run(case, score, "softmax").context
    once = aj.attention(case.query, prepared, case.values, mask=case.mask, **given)
    assert_close(once.context, together)
    alone = aj.attend(
        case.query[1, 2, 0],
        jax.tree.map(lambda x: x[1, 2], prepared),
        case.values[1, 2],
        **given,
        where=case.mask[1, 2, 0],
    )
    assert_close(alone.context, together[1, 2, 0])


@pytest.mark.parametrize("score", [*PAIRED_SCORES, "location"])
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


@pytest.mark.parametrize(
    ("score", "normalizer"),
    [*((s, "softmax") for s in aj.score_names()), ("dot", "sparsemax")],
)
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
