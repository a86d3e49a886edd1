"""Every implementation gives what the reference gives, for every chunk size."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads

import attention_jax as aj
from attention_jax import masks
from tests.attention_cases import IMPLEMENTATIONS, PAIRED_SCORES, arrays, pairs, run
from tests.tolerances import BACKWARD, assert_close


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("score", "normalizer"),
    [
        # Scores that are one product of prepared keys differ in nothing a kernel does.
        pytest.param(*pair.values, marks=pair.marks or pytest.mark.full)
        if pair.values[0]
        in ("dot", "bilinear", "low_rank_bilinear", "cosine", "euclidean")
        else pair
        for pair in pairs(paired=PAIRED_SCORES[:1])
    ],
)
def test_every_implementation_agrees_with_the_reference(
    score, normalizer, implementation
):
    """Outputs and gradients, for shared keys, an array mask and a structural one."""
    case = arrays(score, T=7, leading=(2,))
    case = case._replace(keys=case.keys[:1])
    structural = masks.dense(case.mask) & masks.padding([7, 5]) | masks.causal()

    @functools.partial(jax.jit, static_argnames=("implementation", "chunk_size"))
    def both(mask, **arguments):
        def total(query, keys, values, params):
            inner = case._replace(query=query, keys=keys, values=values, params=params)
            context = run(inner, score, normalizer, mask=mask, **arguments).context
            return jnp.sum(jnp.sin(context)), context

        # Asked for nothing but the context, a kernel may take a shorter way.
        everything = {"return_weights": True, "statistics": aj.statistic_names()}
        described = run(case, score, normalizer, mask=mask, **everything, **arguments)
        gradient = jax.value_and_grad(total, argnums=(0, 1, 2, 3), has_aux=True)
        return described, gradient(*case[:4])

    expected = both(structural, implementation="reference")
    # Two full blocks and a filled one; other sizes are tested below, forwards.
    actual = both(structural, implementation=implementation, chunk_size=3)
    jax.tree.map(lambda a, e: assert_close(a, e, table=BACKWARD), actual, expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("T", [0, 1, 7])
@pytest.mark.parametrize("S", [0, 1, 11])
def test_every_chunk_size_of_odd_shapes(implementation, T, S):
    """Blocks of one query, unequal blocks, one block, and a chunk above T."""
    for score, mask in (("additive", masks.causal()), ("scaled_dot", None)):
        case = arrays(score, T=T, S=S, V=3)
        given = {
            "mask": mask and (mask & case.mask),
            "return_weights": True,
            "statistics": aj.statistic_names(),
        }
        expected = run(case, score, "softmax", **given)
        given["implementation"] = implementation
        for chunk_size in (1, 3, 4, T, T + 4) if T > 1 else (1, 5):
            actual = run(case, score, "softmax", chunk_size=chunk_size, **given)
            jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "score", [pytest.param("scaled_dot", marks=pytest.mark.full), "additive"]
)
def test_second_order_through_every_implementation(implementation, score, x64):
    case = arrays(score, T=3, S=4, dtype="float64")

    def context(query, keys, values):
        inner = case._replace(query=query, keys=keys, values=values)
        given = {"implementation": implementation, "chunk_size": 2}
        return run(inner, score, "softmax", **given).context

    check_grads(context, case[:3], order=2, modes=("fwd", "rev"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_rows_that_fill_a_block_have_a_derivative(implementation):
    """A score without one at a query of zeros, and T that is no multiple of the chunk."""

    def unguarded(query, keys):
        return keys @ (query / jnp.sqrt(jnp.sum(query * query)))

    case = arrays("dot", T=5, S=7)

    def total(query, keys, **given):
        return aj.attention(
            query, keys, case.values, score=unguarded, **given
        ).context.sum()

    gradient = jax.grad(total, argnums=(0, 1))
    expected = gradient(*case[:2], implementation="reference")
    actual = gradient(*case[:2], implementation=implementation, chunk_size=3)
    jax.tree.map(lambda a, e: assert_close(a, e, table=BACKWARD), actual, expected)
