"""What a score, a normaliser or a mask reads besides its arguments: derivatives, S, changes."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import attention_jax as aj
from attention_jax import masks
from tests.tolerances import BACKWARD, assert_close

T, S, D = 6, 200, 4
RNG = np.random.default_rng(0)
QUERY, KEYS, VALUES = (RNG.normal(size=(n, D)).astype(np.float32) for n in (T, S, S))
BIAS = RNG.normal(size=S).astype(np.float32)


def context(**arguments):
    return aj.attention(QUERY, KEYS, VALUES, **arguments).context


def both_kernels(chunk_size, **arguments):
    chunked = context(implementation="chunked", chunk_size=chunk_size, **arguments)
    return chunked, context(implementation="reference", **arguments)


def loss(implementation, **arguments):
    given = {"mask": masks.causal(), "implementation": implementation} | arguments
    return jnp.sum(jnp.sin(context(**given)))


def scaled(t):
    return lambda query, keys: t * (keys @ query)


def declared(t):
    """Registered scores may capture too, and this one lets kernels leave keys out."""
    return aj.Score(scaled(t), block_sparse=True)


def tempered(t):
    return lambda scores, where=None: aj.softmax(t * scores, where)


CAPTURES = {
    "score": lambda t: {"score": scaled(t)},
    "block-sparse score": lambda t: {"score": declared(t)},
    "normalizer": lambda t: {"normalizer": tempered(t)},
    "score_mod": lambda t: {
        "score": aj.from_score_mod(
            lambda e, b, h, i, j: e - t * jnp.abs(i - j).astype(e.dtype)
        )
    },
    "combined": lambda t: {"score": aj.soft_cap(declared(t), 5.0)},
}


@pytest.mark.parametrize("name", CAPTURES)
def test_what_a_function_captures_is_differentiated(name):
    def total(t, implementation):
        return loss(implementation, **CAPTURES[name](t))

    t, step = jnp.float32(0.7), 1e-2
    reference = functools.partial(total, implementation="reference")
    chunked = functools.partial(total, implementation="chunked")
    slope = float(reference(t + step) - reference(t - step)) / (2 * step)
    expected = jax.grad(reference)(t)
    np.testing.assert_allclose(expected, slope, rtol=0.02, atol=0.02)
    assert abs(slope) > 0.01
    derivatives = jax.jacfwd, lambda f: lambda t: jax.linearize(f, t)[1](1.0)
    found = jax.jit(lambda t: [d(chunked)(t) for d in derivatives])(t)
    for one in (jax.grad(chunked)(t), *found):
        assert_close(one, expected, table=BACKWARD)
    if name == "block-sparse score":
        second, other = (jax.jit(jax.hessian(f))(t) for f in (chunked, reference))
        assert_close(second, other, table=BACKWARD)


def test_a_mask_may_capture_what_is_mapped():
    def total(n, implementation):
        mask = masks.by_position(lambda i, j: (j - i).astype(jnp.float32) <= n)
        return loss(implementation, mask=mask)

    def gradient(implementation):
        over = jax.grad(functools.partial(total, implementation=implementation))
        each = jax.vmap(functools.partial(total, implementation=implementation))
        return over(3.5), each(jnp.arange(3.0))

    jax.tree.map(assert_close, gradient("chunked"), gradient("reference"))


@pytest.mark.parametrize(
    ("score", "normalizer"),
    [
        (lambda q, k: k @ q / 2 - jnp.log(k.shape[0]), "sigmoid"),
        ("dot", lambda e, where=None: aj.softmax(e * np.log(e.shape[-1]), where)),
        ("dot", lambda e, where=None: jnp.where(e > 1 / e.shape[-1], e, 0)),
        (lambda q, k: k @ q + BIAS, "softmax"),
        (lambda q, k: k @ q - 0.1 * jnp.arange(k.shape[0], dtype=k.dtype), "softmax"),
        (lambda q, k: k @ q - jnp.mean(k @ q), "sigmoid"),
    ],
)
def test_the_number_of_keys_is_the_calls_in_every_block(score, normalizer):
    given = {"score": score, "normalizer": normalizer, "mask": masks.padding(100)}
    assert_close(*both_kernels(2, **given))


class Learned:
    """A score with parameters of its own: of the object, of its class, and of flax's."""

    __slots__ = ("scale", "w")
    shared = jnp.ones(D)

    def __init__(self):
        self.w = jnp.eye(D)
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, query, keys):
        return keys @ (self.w @ (query * self.shared * self.scale[...]))


weight = jnp.ones(D)


def test_an_array_that_a_function_reads_may_be_replaced(monkeypatch):
    """A compiled call holds it as it was; the next call must not."""
    array, learned = jnp.eye(D), [Learned() for _ in range(3)]
    module = types.ModuleType("somebody")
    module.weight = jnp.ones(D)  # pyrefly: ignore

    def closure(query, keys):
        return keys @ (array @ query)

    def inside(query, keys):
        return jax.vmap(lambda key: key @ (weight * query))(keys)

    def of_module(query, keys):
        return keys @ (query * module.weight)

    def contexts():
        scores = (learned[0], learned[1], closure, inside, of_module)
        return [context(score=score) for score in scores]

    expected = aj.attention(3 * QUERY, KEYS, VALUES, score="dot").context
    before = contexts()
    learned[0].w = array = 3 * jnp.eye(D)
    learned[1].scale.set_value(jnp.full((), 3.0))
    monkeypatch.setitem(globals(), "weight", jnp.full(D, 3.0))
    monkeypatch.setattr(module, "weight", jnp.full(D, 3.0))
    after = contexts()
    before.append(context(score=learned[2]))
    monkeypatch.setattr(Learned, "shared", jnp.full(D, 3.0))
    after.append(context(score=learned[2]))
    for old, new in zip(before, after, strict=True):
        assert_close(new, expected)
        assert np.abs(old - new).max() > 0.01


def test_an_array_that_a_mask_reads_may_be_replaced():
    allowed = jnp.arange(S) < 3
    mask = masks.causal() & masks.by_position(lambda query, key: allowed[key])

    def argmax():
        found = aj.attention(QUERY, KEYS, VALUES, mask=mask, statistics=("argmax",))
        return np.asarray(found.statistics["argmax"])

    assert argmax().max() >= 0
    allowed = jnp.zeros(S, bool)
    assert argmax().max() == -1


def test_a_function_without_arrays_is_compiled_once():
    traced = []

    def plain(query, keys):
        traced.append(None)
        return keys @ query

    for _ in range(2):
        aj.attention(QUERY, KEYS, VALUES, score=plain)
    # Once to plan, once to compute; the second call not at all.
    assert len(traced) == 2


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg", "threefry2x32"])
def test_dropout_does_not_depend_on_the_kernel_with_any_kind_of_key(kind):
    rng = jax.random.key(3, impl=kind)
    assert_close(*both_kernels(4, dropout_rate=0.5, dropout_rng=rng))


@pytest.mark.parametrize("implementation", aj.implementation_names())
def test_sizes_may_be_symbols_of_an_exported_function(implementation):
    b, t, s = jax.export.symbolic_shape("b, t, s")

    def attend(query, keys, values, lengths):
        return aj.attention(
            query,
            keys,
            values,
            score="euclidean",
            params={"log_sigma": jnp.zeros(())},
            normalizer=functools.partial(aj.top_k_softmax, k=3),
            mask=masks.padding(lengths) & masks.causal(),
            statistics=(*aj.statistic_names(), aj.top_k(4)),
            implementation=implementation,
        )

    def given(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    exported = jax.export.export(jax.jit(attend))(
        given(b, t, D),
        given(b, s, D),
        given(b, s, D),
        jax.ShapeDtypeStruct((b,), jnp.int32),
    )
    for few in (S, 2):
        arrays = (
            QUERY[None],
            KEYS[None, :few],
            VALUES[None, :few],
            np.array([5], np.int32),
        )
        found, expected = exported.call(*arrays), attend(*arrays)
        assert_close(found.context, expected.context)
        jax.tree.map(assert_close, found.statistics, expected.statistics)
