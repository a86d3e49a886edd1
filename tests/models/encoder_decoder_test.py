"""Every wiring against the equations, and what padding and the future may not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.models.attention_wiring import wirings
from attention_jax.models.factory import build_model
from tests.models import oracles
from tests.models.cases import (
    SOURCE_VOCABULARY,
    TARGET_VOCABULARY,
    Batch,
    as_float64,
    batch,
    config,
    rough,
)

DEEP = {"encoder_layers": 2, "decoder_layers": 2, "readout": "tanh", "readout_size": 6}
SHALLOW = {"bidirectional": False, "readout": "linear"}
BY_WIRING = pytest.mark.parametrize("wiring", wirings.names())


def cheap_key(seed):
    """A PRNG key whose bits compile fast."""
    return jax.random.key(seed, impl="unsafe_rbg")


def make(**changes):
    settings = config(**changes)
    model = build_model(settings, SOURCE_VOCABULARY, TARGET_VOCABULARY)
    return settings, model, rough(model)


CASES = [
    *((wiring, "lstm", DEEP) for wiring in wirings.names()),
    *((wiring, "gru", SHALLOW) for wiring in wirings.names()),
    ("after", "gru", DEEP),
    ("input_feeding", "lstm", SHALLOW),
]


def forced_and_stepped(model):
    """(params, batch) -> teacher forcing, and the same words one `step` at a time."""

    def run(params, words):
        memory = model.encode(params, words.source, words.source_lengths)

        def one(state, previous):
            state, *rest = model.step(params, memory, state, previous)
            return state, tuple(jnp.array(x) for x in rest)

        _, stepped = jax.lax.scan(one, model.start(memory), words.target_inputs.T)
        return model.apply(params, words), [jnp.moveaxis(x, 0, 1) for x in stepped]

    return jax.jit(run)


@pytest.mark.parametrize(("wiring", "cell", "shape"), CASES)
def test_teacher_forcing_and_steps_equal_the_equations(wiring, cell, shape):
    settings, model, params = make(attention=wiring, cell=cell, **shape)
    words = batch()
    output, stepped = forced_and_stepped(model)(params, words)
    assert output.logits.dtype == jnp.float32
    for logits, weights in (output, stepped):
        for row, length in enumerate(words.source_lengths):
            expected, expected_weights = oracles.translate(
                settings,
                as_float64(params),
                np.asarray(words.source[row, :length]),
                np.asarray(words.target_inputs[row]),
            )
            np.testing.assert_allclose(logits[row], expected, atol=2e-5)
            valid = weights[row, :, :length]
            np.testing.assert_allclose(valid, expected_weights, atol=5e-6)
            np.testing.assert_array_equal(weights[row, :, length:], 0)


def test_tied_embeddings_and_another_score_equal_the_equations():
    settings, model, params = make(
        score="bilinear", readout="tanh", readout_size=5, tied_embeddings=True
    )
    assert "projection" not in params["decoder"]
    words = batch()
    output = jax.jit(model.apply)(params, words)
    for row, length in enumerate(words.source_lengths):
        logits, _ = oracles.translate(
            settings,
            as_float64(params),
            np.asarray(words.source[row, :length]),
            np.asarray(words.target_inputs[row]),
        )
        np.testing.assert_allclose(output.logits[row], logits, atol=2e-5)


@BY_WIRING
def test_positions_are_those_of_the_target(wiring):
    """A score that looks at the key standing where the query stands: steps count."""
    _, model, params = make(
        attention=wiring, score="tests.models.user_scores:here", alignment_size=0
    )
    output, (_, stepped) = forced_and_stepped(model)(params, batch())
    expected = np.zeros((5, 6)) if wiring == "none" else np.eye(5, 6)
    for weights in (output.weights, stepped):
        np.testing.assert_allclose(weights[2], expected, atol=1e-6)


@BY_WIRING
def test_a_prediction_reads_no_later_word(wiring):
    _, model, params = make(attention=wiring, decoder_layers=2)
    words = batch(steps=5)
    # Row b of this vocabulary is step b's own word, so that its embedding is that step's.
    words = words._replace(target_inputs=jnp.tile(jnp.arange(5), (3, 1)))

    def logits(embedding):
        changed = {**params, "decoder": {**params["decoder"], "embedding": embedding}}
        return jnp.sum(jnp.sin(model.apply(changed, words).logits), (0, 2))

    by_word = jax.jit(jax.jacrev(logits))(params["decoder"]["embedding"])
    reached = np.abs(by_word[:, :5]).max(axis=2) > 0
    np.testing.assert_array_equal(reached, np.tril(np.ones((5, 5), bool)))


@BY_WIRING
def test_padding_changes_nothing_and_every_parameter_matters(wiring):
    """The second row is padding alone: finite, and without weights."""
    _, model, params = make(attention=wiring, cell="gru", **DEEP)
    words = batch(lengths=(4, 0, 6))
    padded = Batch(
        # What stands in padding does not matter, 0 or not.
        jnp.pad(words.source, ((0, 0), (0, 3)), constant_values=7),
        words.source_lengths,
        jnp.pad(words.target_inputs, ((0, 0), (0, 2))),
    )

    def run(batch):
        def loss(params):
            output = model.apply(params, batch)
            return jnp.sum(jnp.sin(output.logits[:, :5])), output

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    (gradient, output), (padded_gradient, padded_output) = run(words), run(padded)
    np.testing.assert_allclose(padded_output.logits[:, :5], output.logits, atol=1e-5)
    np.testing.assert_array_equal(padded_output.weights[..., 6:], 0)
    np.testing.assert_array_equal(output.weights[1], 0)
    by_path = jax.tree_util.tree_leaves_with_path(gradient)
    for (path, x), y in zip(by_path, jax.tree.leaves(padded_gradient), strict=True):
        np.testing.assert_allclose(x, y, atol=2e-4)
        assert np.abs(x).max() > 0, jax.tree_util.keystr(path)


def test_the_bottleneck_knows_the_source_by_its_bridge_alone():
    _, model, params = make(attention="none")
    words = batch()
    encode = jax.jit(model.encode)
    memory = encode(params, words.source, words.source_lengths)
    assert memory.keys is None

    step = jax.jit(model.step)

    def logits(memory):
        start = model.start(memory)
        _, logits, weights = step(params, memory, start, words.target_inputs[:, 0])
        np.testing.assert_array_equal(weights, np.zeros((3, 6)))
        return logits

    other = encode(params, words.source[::-1], words.source_lengths[::-1])
    same_bridge = other._replace(state=memory.state)
    np.testing.assert_array_equal(logits(same_bridge), logits(memory))
    assert np.abs(logits(other) - logits(memory)).max() > 1e-3


@pytest.mark.parametrize("wiring", ["after", "input_feeding"])
def test_dropout_is_random_by_its_key_alone(wiring):
    changes = {"attention": wiring, "decoder_layers": 2}
    _, plain, params = make(**changes)
    _, model, _ = make(dropout=0.4, attention_dropout=0.2, **changes)
    _, nearly, _ = make(dropout=1e-7, attention_dropout=1e-7, **changes)
    # A padding row is finite under dropout too.
    words, keys = batch(lengths=(4, 0, 6)), [cheap_key(seed) for seed in (1, 1, 2)]
    apply = jax.jit(model.apply)
    expected = jax.jit(plain.apply)(params, words).logits
    # At a vanishing rate dropout is the identity.
    vanishing = jax.jit(nearly.apply)(params, words, keys[0]).logits
    np.testing.assert_allclose(vanishing, expected, atol=1e-4)
    one, again, two = (apply(params, words, key).logits for key in keys)
    np.testing.assert_array_equal(one, again)
    for other in (two, expected):
        assert np.abs(one - other).max() > 1e-3


def test_dropout_does_not_touch_the_recurrence():
    """With silent embeddings and one layer there is nothing to drop before attention."""
    _, model, params = make(dropout=0.5)
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: 0 * x if "embedding" in jax.tree_util.keystr(path) else x,
        params,
    )
    apply = jax.jit(model.apply)
    one, two = (apply(params, batch(), cheap_key(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one.weights, two.weights)
    assert np.abs(one.logits - two.logits).max() > 1e-3
