"""The layer is flax's with the default score, and `attention` by heads with any."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import attention_jax as aj
from attention_jax import MultiHeadAttention, masks

B, F, H = 2, 6, 4
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
BIAS = nnx.initializers.normal(1.0)


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def layer(score="scaled_dot", heads=H, **given):
    given = {"bias_init": BIAS, "rngs": nnx.Rngs(0)} | given
    return MultiHeadAttention(heads, F, 8, score=score, **given)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_with_scaled_dot_it_is_that_of_flax(key_heads):
    theirs = nnx.MultiHeadAttention(
        *(H, F, 8, 5, key_heads, 3), bias_init=BIAS, decode=False, rngs=nnx.Rngs(7)
    )
    ours = layer(out_features=5, in_kv_features=3, num_key_value_heads=key_heads)
    nnx.update(ours, nnx.state(theirs, nnx.Param))

    @jax.jit
    def outputs(x, y, z, mask):
        return [
            (ours(x, y), theirs(x, y)),
            (ours(x, y, z, mask=mask), theirs(x, y, z, mask=mask)),
            (ours(x, y, mask=masks.causal()), theirs(x, y, is_causal=True)),
        ]

    for length in (1, 7, 512) if key_heads == 2 else (64,):
        x, y, z = draw(B, length, F), draw(B, length, 3), draw(B, length, 3)
        mask = np.random.default_rng(0).random((B, H, length, length)) < 0.7
        mask[..., 0] = True
        for mine, flax in outputs(x, y, z, mask):
            np.testing.assert_allclose(mine, flax, **CLOSE)


def by_head(score, b, h, q, k):
    return score + 0.1 * (h * k - b * q).astype(score.dtype)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_each_head_has_its_own_parameters_numbers_and_index(key_heads):
    """Grouped or not, it is `attention` with an axis of heads and copied keys."""
    lengths = np.array(
        [5, 3, 0, 4]
    )  # As many as heads, but the sequences' all the same.
    x, bias, allowed = draw(4, 5, F), draw(H, 5, 5), draw(4, H, 5, 5) < 1
    positions = np.arange(5) + np.arange(4)[:, None] * 2
    slopes = np.array([0.0, 0.5, 1.0, 2.0])
    score = aj.from_score_mod(by_head, aj.with_alibi("additive", slopes))
    module = layer(score, num_key_value_heads=key_heads, alignment_size=3)
    assert module.score_params["w_query"].shape == (H, 2, 3)
    given = {
        "bias": bias,
        "return_weights": True,
        "statistics": ("entropy", "column_sum", aj.top_k(2)),
    }
    found = module(
        x, mask=masks.padding(lengths) & allowed, query_positions=positions, **given
    )
    q, k, v = (f(x).swapaxes(1, 2) for f in (module.query, module.key, module.value))
    expected = aj.attention(
        q,
        *(jnp.repeat(y, H // key_heads, axis=1) for y in (k, v)),
        score=score,
        params={name: param[...] for name, param in module.score_params.items()},
        mask=masks.padding(lengths[:, None]) & allowed,
        query_positions=positions[:, None],
        key_positions=positions[:, None],
        **given,
    )
    output = module.out(expected.context.swapaxes(1, 2))
    expected = expected._replace(context=output)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), found, expected
    )


def test_an_additive_score_a_head_trains():
    """The task: copy the token whose first feature is the largest."""
    module = MultiHeadAttention(2, 4, 16, 4, score="additive", rngs=nnx.Rngs(0))
    graph, params = nnx.split(module, nnx.Param)
    sgd = optax.sgd(0.1, momentum=0.9)

    def loss(params, rng):
        x = jax.random.normal(rng, (32, 6, 4))
        largest = jnp.argmax(x[..., 0], axis=1)[:, None, None]
        target = jnp.take_along_axis(x, largest, axis=1)
        output = nnx.merge(graph, params)(jnp.ones((32, 1, 4)), x)
        return jnp.mean((output - target) ** 2)

    @jax.jit
    def train(params):
        def step(carry, rng):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, rng)
            updates, state = sgd.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        rngs = jax.random.split(jax.random.key(0), 300)
        (params, _), losses = jax.lax.scan(step, (params, sgd.init(params)), rngs)
        return params, losses

    trained, losses = train(params)
    assert losses[-20:].mean() < 0.3 * losses[0]
    moved = jax.tree.map(lambda a, b: np.any(a != b), params, trained)["score_params"]
    assert all(jax.tree.leaves(moved)) and len(jax.tree.leaves(moved)) == 3


def test_it_is_a_module_like_others():
    module = layer("cosine", dropout_rate=0.5, rngs=nnx.Rngs(0, dropout=1))
    x = draw(B, 5, F)
    first, second = module(x), module(x)
    assert np.any(first != second)
    again = pickle.loads(pickle.dumps(module))
    module.eval()
    np.testing.assert_array_equal(module(x), again(x, deterministic=True))
    assert np.any(module(x, deterministic=False, rngs=nnx.Rngs(3)) != module(x))
    gradient = nnx.jit(nnx.grad(lambda m: (m(x) ** 2).sum()))(module)
    assert all(np.any(g) for g in jax.tree.leaves(gradient["score_params"]))
    graph, state = nnx.split(module)
    outputs = jax.vmap(nnx.merge(graph, state))(x)
    np.testing.assert_allclose(outputs, module(x), **CLOSE)
    assert "Total Parameters: 228" in nnx.tabulate(module, x)


X, MASK = draw(B, 3, F), np.ones((3, 1, 3), bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layer(heads=3), "qkv_features = 8 and num_heads = 3"),
        (lambda: layer(num_key_value_heads=3), "num_heads must be divisible by num_k"),
        (lambda: layer(num_key_value_heads=0), "num_key_value_heads must be at least"),
        (lambda: layer()(X[..., 1:]), "inputs_q must be .* in_features = 6, but .*5"),
        (lambda: layer()(X, X[..., 1:]), "inputs_k must be .* in_kv_features = 6"),
        (lambda: layer()(X, X, X[0, 0]), "inputs_v must be"),
        (lambda: layer()(X, inputs_v=X), "but not inputs_k"),
        (lambda: layer()(X, X[:, :2], X), "equally many"),
        (lambda: layer()(X, mask=MASK), "mask must be broadcastable"),
        (lambda: layer(num_key_value_heads=2)(X, mask=MASK), "end in the 4 heads"),
        (lambda: layer().step(X[:1], layer().init_cache(B, 3)), r"leading axes \[2\]"),
        (lambda: layer().step(X, layer("cosine").init_cache(B, 3)), "the score cosin"),
        (lambda: layer()(X, layer().init_cache(B, 3), X), "values and key_positions"),
        (lambda: layer().init_cache(B, 0), "max_length must be at least 1"),
    ],
)
def test_errors_name_argument_and_axis(call, message):
    with pytest.raises(ValueError, match=message):
        call()
