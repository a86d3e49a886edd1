"""Products with the query first: the same numbers, rows of scores instead of columns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import attention_jax as aj
from attention_jax.functions.batching import query_first
from tests.tolerances import assert_close

RNG = np.random.default_rng(0)
T, S, Q = 3, 9, 4
QUERIES, KEYS, SQUARE = (
    jnp.asarray(RNG.standard_normal(shape), jnp.float32)
    for shape in ((T, Q), (S, Q), (Q, Q))
)


def plain(query):
    return KEYS @ query


def already_first(query):
    return query @ KEYS.T


def projected(query):
    return KEYS @ (SQUARE @ query)


def matrix_depends_on_the_query(query):
    return (KEYS * query[None]) @ SQUARE[0]


def nested(query):
    return jax.jit(plain)(query) + jnp.einsum("sq,q->s", KEYS, query)


def looped(query):
    return jax.lax.fori_loop(0, 3, lambda _, e: jnp.tanh(e + KEYS @ query), KEYS[:, 0])


@jax.custom_jvp
def with_own_derivative(query):
    return KEYS @ query


@with_own_derivative.defjvp
def _derivative(primals, tangents):
    return with_own_derivative(*primals), 2 * (KEYS @ tangents[0])


def a_constant(query):
    return KEYS[:, 0]


def batched_matrices(query):
    return jnp.einsum("sab,b->sa", jnp.stack([SQUARE] * S), query)[:, 0]


FUNCTIONS = [
    plain,
    already_first,
    projected,
    matrix_depends_on_the_query,
    nested,
    looped,
    with_own_derivative,
    a_constant,
    batched_matrices,
]


@pytest.mark.parametrize("num_queries", [1, 1000], ids=["few", "many"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_values_and_derivatives_stay(function, num_queries):
    @functools.partial(jax.jit, static_argnums=1)
    def described(queries, mapped):
        def total(queries):
            return jnp.sum(jnp.sin(mapped(queries)))

        return jax.grad(total)(queries), jax.jvp(mapped, (queries,), (queries,))

    expected = described(QUERIES, jax.vmap(function))
    actual = described(QUERIES, jax.vmap(query_first(function, num_queries)))
    jax.tree.map(assert_close, actual, expected)


def products(jaxpr):
    """The equations of matrix products, those inside other equations included."""
    for equation in jaxpr.eqns:
        if equation.primitive is jax.lax.dot_general_p:
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@pytest.mark.parametrize("function", [plain, already_first, projected, nested])
def test_scores_come_out_as_rows(function):
    def shapes(mapped):
        traced = jax.make_jaxpr(mapped)(QUERIES).jaxpr
        return [e.outvars[0].aval.shape for e in products(traced)]

    found = shapes(jax.vmap(query_first(function, T)))
    assert found and all(shape in ((T, S), (T, Q)) for shape in found)
    assert (S, T) in shapes(jax.vmap(plain)), "what it is there for"


def test_each_side_keeps_its_precision():
    sides = (jax.lax.Precision.HIGHEST, jax.lax.Precision.DEFAULT)
    product = functools.partial(jnp.dot, KEYS, precision=sides)
    [equation] = products(jax.make_jaxpr(query_first(product, T))(QUERIES[0]).jaxpr)
    assert equation.params["precision"] == sides[::-1]


def test_several_and_missing_arguments_and_nested_results():
    def one(query, nothing, position):
        assert nothing is None
        return {"scores": KEYS @ query + position, "none": None}

    mapped = jax.vmap(query_first(one, 3), in_axes=(0, None, 0))
    result = mapped(QUERIES, None, jnp.arange(3.0))
    assert result["none"] is None
    assert_close(result["scores"], QUERIES @ KEYS.T + np.arange(3.0)[:, None])


def test_gradients_of_very_few_keys_and_features():
    """The compiler may end the process instead, and all tests with it."""
    arrays = RNG.standard_normal((3, 2, 4, 3)).astype(np.float32)
    query, keys, values = arrays[0], arrays[1, :, :3], arrays[2, :, :3]

    def plainly(query, keys, values):
        return jax.nn.softmax(query @ keys.swapaxes(1, 2)) @ values

    def attended(query, keys, values):
        return aj.attention(query, keys, values, score="dot").context

    expected, actual = (
        jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1, 2))(
            query, keys, values
        )
        for f in (plainly, attended)
    )
    jax.tree.map(assert_close, actual, expected)
