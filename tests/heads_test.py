"""What differs by head: score_mods, combinators' numbers, parameters; bias; precision."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from tests.tolerances import BACKWARD, assert_close

# Keys enough that a kernel leaves some out.
B, H, T, S, D = 2, 3, 6, 150, 4
RNG = np.random.default_rng(0)
KERNELS = (
    {"implementation": "reference"},
    {"implementation": "chunked", "chunk_size": 4},
)
FIRST = 130  # position of the first query: the window is over the last keys
WINDOW = {"mask": masks.window(20, 9), "query_positions": np.arange(FIRST, FIRST + T)}


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


QUERY, KEYS, VALUES = normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, D)
COTANGENT = normal(B, H, T, D)
TABLE = normal(H, 40)
SLOPES, CAPS = normal(H) ** 2, np.array([0.5, 1.0, 8.0], np.float32)
DOCUMENTS = RNG.integers(0, 2, (B, S))


def biased_by_distance(table, e, b, h, q, k, n=np):
    return e + table[h, n.clip(q - k + 20, 0, 39)]


def alibi(slopes, e, b, h, q, k, n=np):
    return e - slopes[h] * abs(q - k).astype(e.dtype)


def capped(caps, e, b, h, q, k, n=np):
    return caps[h] * n.tanh(e / caps[h])


def same_document(documents, e, b, h, q, k, n=np):
    return n.where(documents[b, q] == documents[b, k], e, -n.inf)


def oracle(score_mod, *more):
    """Attention in float64, the whole matrix of scores at once."""
    e = np.einsum("bhtd,bhsd->bhts", *(np.float64(x) for x in (QUERY, KEYS)))
    e = e / np.sqrt(D)
    b, h, t, s = np.ogrid[:B, :H, FIRST : FIRST + T, :S]
    for mod in (score_mod, *more):
        e = mod(e, b, h, t, s)
    e = np.where((t - 20 <= s) & (s <= t + 9), e, -np.inf)
    a = np.exp(e - e.max(-1, keepdims=True))
    return a / a.sum(-1, keepdims=True) @ np.float64(VALUES)


def with_jnp(score_mod, read):
    return aj.from_score_mod(lambda *scalars: score_mod(read, *scalars, n=jnp))


def attend(kernel, **arguments):
    """The context, with the window over the last keys."""
    return aj.attention(QUERY, KEYS, VALUES, **WINDOW, **kernel, **arguments).context


SCORE_MODS = [
    (biased_by_distance, TABLE),
    (alibi, SLOPES),
    (capped, CAPS),
    (same_document, DOCUMENTS),
]


@pytest.mark.parametrize(("score_mod", "read"), SCORE_MODS)
def test_a_score_mod_is_that_of_the_oracle(score_mod, read):
    """So are the derivatives by a table that it reads."""

    def loss(read, kernel):
        context = attend(kernel, score=with_jnp(score_mod, read))
        return (context * COTANGENT).sum(), context

    def expected(read):
        return oracle(functools.partial(score_mod, read))

    differs = read is TABLE
    if differs:
        wide, direction, step = np.float64(read), RNG.standard_normal(read.shape), 1e-5
        ends = [(expected(wide + x * direction) * COTANGENT) for x in (step, -step)]
        slope = (ends[0] - ends[1]).sum() / (2 * step)
    for kernel in KERNELS:
        function = functools.partial(loss, kernel=kernel)
        if differs:
            gradient, context = jax.jit(jax.grad(function, has_aux=True))(read)
            assert_close((gradient * direction).sum(), slope, table=BACKWARD)
        else:
            context = function(jnp.asarray(read))[1]
        assert_close(context, expected(read))


def test_numbers_of_combinators_differ_by_head():
    expected = oracle(functools.partial(capped, CAPS), functools.partial(alibi, SLOPES))
    score = aj.with_alibi(aj.soft_cap("scaled_dot", CAPS), list(SLOPES))
    for kernel in KERNELS:
        assert_close(attend(kernel, score=score), expected)
    for given in (SLOPES[:2], SLOPES[:, None]):
        with pytest.raises(ValueError, match="slope of _with_alibi"):
            attend(KERNELS[0], score=aj.with_alibi("dot", given))
    with pytest.raises(TypeError, match="score_mod must be a function"):
        aj.from_score_mod("alibi")
    with pytest.raises(ValueError, match="cap must be positive, not -1"):
        aj.soft_cap("dot", [1.0, -1.0])


LEARNED = [
    pytest.param(name, marks=() if name == "additive" else pytest.mark.full)
    for name in aj.score_names()
    if aj.get_score(name).params
]


@pytest.mark.parametrize("name", LEARNED)
def test_parameters_differ_by_head(name, x64):
    """As a Python loop over heads has it, derivatives too."""
    arrays = [jnp.asarray(x, jnp.float64) for x in (QUERY, KEYS, VALUES, COTANGENT)]
    sizes = {"query_size": D, "key_size": D, "alignment_size": 3}
    sets = [
        aj.init_score_params(rng, name, **sizes, dtype=jnp.float64)
        for rng in jax.random.split(jax.random.key(0), H)
    ]
    params = jax.tree.map(lambda *x: jnp.stack(x), *sets)
    given = {"score": name, **WINDOW}

    def at_once(kernel, *arrays, params):
        return aj.attention(*arrays, params=params, **kernel, **given).context

    def by_head(*arrays, params):
        heads = []
        for h in range(H):
            some = (x[:, h] for x in arrays)
            one = {name: value[h] for name, value in params.items()}
            heads.append(aj.attention(*some, params=one, **given).context)
        return jnp.stack(heads, axis=1)

    def gradient(function, *arguments):
        def loss(params, query, keys, values, cotangent):
            context = function(query, keys, values, params=params)
            return (context * cotangent).sum(), context

        return jax.grad(loss, (0, 1, 2), has_aux=True)(*arguments)

    forms = [by_head, *(functools.partial(at_once, kernel) for kernel in KERNELS)]
    expected, *found = jax.jit(lambda *a: [gradient(form, *a) for form in forms])(
        params, *arrays
    )
    close = functools.partial(assert_close, dtype="float64", table=BACKWARD)
    for one in found:
        jax.tree.map(close, one, expected)


BIASES = ((), (S,), (T, 1), (H, 1, 1), (B, 1, T, S), (1, H, 1, S))


def test_bias_of_every_shape_and_its_gradient():
    biases = [normal(*shape) if shape else np.float32(0.5) for shape in BIASES]
    directions = [np.float64(normal(*shape)) for shape in BIASES]

    def loss(biases, kernel):
        contexts = [attend(kernel, bias=bias) for bias in biases]
        return sum((c * COTANGENT).sum() for c in contexts), contexts

    found = [
        jax.jit(jax.grad(functools.partial(loss, kernel=kernel), has_aux=True))(biases)
        for kernel in KERNELS
    ]
    for i, (bias, direction) in enumerate(zip(biases, directions, strict=True)):

        def expected(x, bias=bias, direction=direction):
            return oracle(lambda e, *_: e + np.float64(bias) + x * direction)

        slope = ((expected(1e-5) - expected(-1e-5)) * COTANGENT).sum() / 2e-5
        for gradients, contexts in found:
            assert_close(contexts[i], expected(0))
            assert_close((gradients[i] * direction).sum(), slope, table=BACKWARD)


def test_bias_with_chosen_rows_and_with_dropout():
    bias, given = normal(B, 1, T, S), {"return_weights": True, **WINDOW}
    weights = aj.attention(QUERY, KEYS, VALUES, bias=bias, **given).weights
    rows = aj.attention_rows(QUERY, KEYS, [3, 1], bias=bias, **WINDOW)
    assert_close(rows, weights[:, :, [3, 1]])
    dropout = {"dropout_rate": 0.2, "dropout_rng": jax.random.key(1)}
    one, other = (attend(kernel, bias=bias, **dropout) for kernel in KERNELS)
    assert_close(one, other)


@pytest.mark.parametrize(
    ("bias", "error", "words"),
    [
        (np.zeros((T, S), int), TypeError, "bias must be floating-point"),
        (np.zeros((S, T), np.float32), ValueError, "bias must be broadcastable to"),
        (np.zeros((2, H, T, S, 1), np.float32), ValueError, r"bias must be .*T, S\]"),
    ],
)
def test_a_bias_that_does_not_fit_is_named(bias, error, words):
    with pytest.raises(error, match=words):
        attend(KERNELS[0], bias=bias)


def precisions(score, precision):
    """Those of all products of a gradient, as they are compiled."""
    params = aj.init_score_params(jax.random.key(0), score, query_size=D, key_size=D)

    def loss(query, keys, params):
        given = {"score": score, "params": params, "precision": precision}
        found = aj.attention(query, keys, VALUES, **given, **WINDOW, **KERNELS[1])
        return found.context.sum()

    text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(QUERY, KEYS, params).as_text()
    return set(re.findall(r"dot_general .*precision = \[(\w+, \w+)\]", text))


@pytest.mark.parametrize("score", aj.score_names())
def test_precision_is_that_of_every_product(score):
    assert precisions(score, "highest") == {"HIGHEST, HIGHEST"}


def test_forms_of_precision():
    assert precisions("dot", jax.lax.Precision.HIGH) == {"HIGH, HIGH"}
    assert precisions("dot", None) == {"DEFAULT, DEFAULT"}
    for wrong in ("best", 3, ("highest", "highest")):
        with pytest.raises(ValueError, match="precision must be None, a jax.lax.Prec"):
            attend(KERNELS[0], precision=wrong)


NUMBERS = {
    "cap": (aj.soft_cap, [1e-40, 1e-45, 1e300], lambda cap: min(cap, 1e6)),
    "slope": (aj.with_alibi, [1e300, -0.0, 1e-300], lambda slope: min(slope, 1e30)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_beyond_the_dtype_are_the_largest_and_smallest_of_it(name):
    combinator, sizes, moderate = NUMBERS[name]
    query = RNG.standard_normal((3, 4, 2)).astype(np.float32)

    def loss(query, score):
        out = aj.attention(query, query, query, score=score, mask=masks.causal())
        return jnp.sum(jnp.sin(out.context)), out.context

    described = jax.grad(loss, has_aux=True)
    gradient, context = described(query, combinator("dot", sizes))
    for head, size in enumerate(sizes):
        alone = described(query[head], combinator("dot", size))
        assert_close(gradient[head], alone[0])
        assert_close(context[head], alone[1])
        if size > 1e-30:
            expected = loss(query[head], combinator("dot", moderate(size)))[1]
            assert_close(alone[1], expected)
    assert np.isfinite(gradient).all() and np.isfinite(context).all()


def test_distances_of_positions_at_the_ends_of_the_integers():
    positions = np.array([2**31 - 1, 0, -(2**31), 5])
    query = RNG.standard_normal((4, 2)).astype(np.float32)
    out = aj.attention(
        query,
        query,
        query,
        score=aj.with_alibi("dot", 1e-9),
        query_positions=positions,
        key_positions=positions,
        return_weights=True,
    )
    apart = np.abs(positions[:, None].astype(float) - positions)
    scores = query @ query.T - 1e-9 * apart
    assert_close(out.weights, jax.nn.softmax(scores.astype(np.float32)))


def test_positions_of_different_widths(x64):
    query = RNG.standard_normal((4, 2))
    positions = np.arange(4)

    def context(one, other):
        return aj.attention(
            query,
            query,
            query,
            score=aj.with_alibi("dot", 0.1),
            mask=masks.window(2, 0),
            query_positions=positions.astype(one),
            key_positions=positions.astype(other),
        ).context

    assert_close(context(np.int32, np.int64), context(np.int64, np.int64))


@pytest.mark.parametrize("changed", [None, True, (0.0, 0.0), np.zeros(2, np.float32)])
def test_a_score_mod_returns_a_number(changed):
    score = aj.from_score_mod(lambda e, b, h, i, j: changed)
    with pytest.raises(TypeError, match="score_mod must return one number"):
        aj.attention(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), score=score)


def test_numbers_that_are_no_array_are_named():
    with pytest.raises(TypeError, match="slope must be a number or an array"):
        aj.with_alibi("dot", [[1.0], [1.0, 2.0]])
