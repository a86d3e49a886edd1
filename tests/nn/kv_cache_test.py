"""Decoding from the cache gives the rows of one call."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import attention_jax as aj
from attention_jax import MultiHeadAttention, masks
from tests.nn.multi_head_test import BIAS, CLOSE, B, F, H, draw, layer


def test_steps_are_those_of_flax():
    theirs = nnx.MultiHeadAttention(H, F, 8, decode=True, rngs=nnx.Rngs(0))
    ours = MultiHeadAttention(H, F, 8, rngs=nnx.Rngs(0))  # The same initial values.
    x = draw(B, 12, F)
    theirs.init_cache(x.shape)
    graph, state = nnx.split(theirs)

    def flax_step(state, token):
        module = nnx.merge(graph, state)
        output = module(token)
        return nnx.state(module), output

    def step(cache, token):
        output, cache = ours.step(token, cache)
        return cache, output

    tokens = jnp.swapaxes(x, 0, 1)[:, :, None]
    _, expected = jax.jit(lambda: jax.lax.scan(flax_step, state, tokens))()
    _, found = jax.jit(lambda: jax.lax.scan(step, ours.init_cache(B, 20), tokens))()
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("score", aj.score_names())
def test_steps_give_the_rows_of_one_call(score):
    """One or several tokens at a time; what is not filled is not seen, even if NaN."""
    far = nnx.initializers.constant(30.0)  # Distances between points far from 0.
    module = layer(
        score,
        num_key_value_heads=2,
        bias_init=far if score == "euclidean" else BIAS,
    )
    mask = masks.window(3, 0)
    x = draw(B, 9, F)

    def full_of_nan(leaf):
        nan = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.full_like(leaf, jnp.nan) if nan else leaf

    def step(cache, tokens):
        output, cache = module.step(tokens, cache, mask=mask)
        return cache, output

    @jax.jit
    def both(x):
        cache = jax.tree.map(full_of_nan, module.init_cache(B, 11))
        cache, prompt = step(cache, x[:, :3])
        cache, singles = jax.lax.scan(step, cache, x[:, 3:7].swapaxes(0, 1)[:, :, None])
        cache, pair = step(cache, x[:, 7:])
        singles = singles[:, :, 0].swapaxes(0, 1)
        found = jnp.concatenate([prompt, singles, pair], axis=1)
        return found, cache, module(x, mask=mask)

    found, cache, whole = both(x)
    np.testing.assert_allclose(found, whole, **CLOSE)
    assert cache.length == 9 and cache.positions[0, :9].tolist() == list(range(9))


def test_what_is_kept_is_attended_to_again():
    """Keys of another sequence, prepared once."""
    module = layer("additive", in_kv_features=3, num_key_value_heads=2)
    x, memory = draw(B, 2, F), draw(B, 4, 3)
    kept = module.extend(module.init_cache((B,), 6), memory)
    again = pickle.loads(pickle.dumps(kept))
    np.testing.assert_allclose(module(x, again), module(x, memory), **CLOSE)
    small = module.init_cache(B, 6, jnp.bfloat16)
    assert all(
        leaf.dtype == jnp.bfloat16 for leaf in (*small.keys.leaves, small.values)
    )
    small = module.extend(small, memory)
    np.testing.assert_allclose(module(x, small), module(x, memory), atol=0.05)


def test_prompts_of_different_lengths():
    """Padded to one length; each sequence's positions go on from its own."""
    module, lengths = layer("local_gaussian"), np.array([3, 1])
    x = draw(B, 5, F)  # A prompt of 3, of which the second sequence's is 1, and 2 more.
    places = np.arange(6)
    real = (places < lengths[:, None]) | (places >= 3)
    mask = masks.causal() & real[:, None, None]
    _, cache = module.step(x[:, :3], module.init_cache(B, 6), mask=mask)
    for t in range(2):
        token, positions = x[:, 3 + t : 4 + t], lengths[:, None] + t
        output, cache = module.step(token, cache, mask=mask, positions=positions)
    for b, kept in enumerate(([0, 1, 2, 3, 4], [0, 3, 4])):
        alone = module(x[b, kept], mask=masks.causal())
        np.testing.assert_allclose(output[b, 0], alone[-1], **CLOSE)


def test_a_step_is_causal_and_exported_for_any_batch():
    module, x = layer(), draw(B, 3, F)

    def prompt(x):
        return module.step(x, module.init_cache(x.shape[0], 4), mask=None)[0]

    (b,) = export.symbolic_shape("b")
    exported = export.export(jax.jit(prompt))(jax.ShapeDtypeStruct((b, 3, F), x.dtype))
    whole = module(x, mask=masks.causal())
    np.testing.assert_allclose(exported.call(x), whole, **CLOSE)


def test_a_full_cache_is_refused_or_seen():
    module, x = layer(), draw(B, 2, F)
    _, cache = module.step(x, module.init_cache(B, 3))
    with pytest.raises(
        ValueError, match="2 tokens do not fit .* max_length = 3 that holds 2"
    ):
        module.step(x, cache)
    output, cache = jax.jit(module.step)(x, cache)
    assert np.isnan(output).all() and cache.length == 4
