"""Greedy search against a Python loop over `step`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.data.vocabulary import BOS, EOS, PAD
from attention_jax.decoding import greedy
from attention_jax.decoding.greedy import greedy_decode
from attention_jax.models.attention_wiring import wirings
from tests.decoding.cases import LENGTHS, make, sources

MAX_LENGTH = 9
BY_WIRING = pytest.mark.parametrize("wiring", wirings.names())


def slow_greedy(model, params, source, lengths, max_length):
    """One row at a time, one step at a time, as lists."""
    found = []
    encode, step = jax.jit(model.encode), jax.jit(model.step)
    for row, length in zip(source, lengths, strict=True):
        memory = encode(params, row[None], length[None])
        state, word = model.start(memory), BOS
        tokens, total, weights = [], 0.0, []
        while length > 0 and word != EOS:
            state, logits, attended = step(params, memory, state, jnp.array([word]))
            exponentials = np.exp(np.asarray(logits[0], np.float64))
            log_probs = np.log(exponentials / exponentials.sum())
            allowed = [w for w in range(len(log_probs)) if w not in (PAD, BOS)]
            allowed = [EOS] if len(tokens) == max_length else allowed
            word = max(allowed, key=lambda w: log_probs[w])
            tokens.append(word)
            total += log_probs[word]
            weights.append(np.asarray(attended[0]))
        found.append((tokens, total, weights))
    return found


@BY_WIRING
def test_equals_a_python_loop(wiring):
    model, params = make(wiring)
    source, lengths = sources()
    decoded = greedy_decode(model, params, source, lengths, max_length=MAX_LENGTH)
    assert decoded.tokens.dtype == jnp.int32 and decoded.lengths.dtype == jnp.int32
    slow = slow_greedy(model, params, source, lengths, MAX_LENGTH)
    for row, (tokens, total, weights) in enumerate(slow):
        padded = tokens + [PAD] * (MAX_LENGTH + 1 - len(tokens))
        np.testing.assert_array_equal(decoded.tokens[row], padded)
        assert decoded.lengths[row] == sum(token != EOS for token in tokens)
        np.testing.assert_allclose(decoded.log_probs[row], total, atol=1e-4)
        expected = np.zeros((MAX_LENGTH + 1, source.shape[1]))
        for t, attended in enumerate(weights):
            expected[t] = attended
        np.testing.assert_allclose(decoded.weights[row], expected, atol=1e-5)


@BY_WIRING
def test_the_cases_end_early_late_and_never(wiring):
    """Guards the test above: its sentences differ in length and in words."""
    model, params = make(wiring)
    decoded = greedy_decode(model, params, *sources(), max_length=MAX_LENGTH)
    lengths = np.asarray(decoded.lengths)[np.array(LENGTHS) > 0]
    assert len(set(lengths.tolist())) >= 4
    assert len(np.unique(decoded.tokens)) >= 7


def test_filler_rows_give_nothing():
    model, params = make()
    source = jnp.full((2, 4), 7, jnp.int32)
    decoded = greedy_decode(
        model, params, source, jnp.zeros(2, jnp.int32), max_length=3
    )
    for leaf in jax.tree.leaves(decoded):
        np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


def test_order_of_rows_does_not_matter():
    model, params = make()
    source, lengths = sources()
    order = np.random.default_rng(0).permutation(len(LENGTHS))
    whole = greedy_decode(model, params, source, lengths, max_length=MAX_LENGTH)
    shuffled = greedy_decode(
        model, params, source[order], lengths[order], max_length=MAX_LENGTH
    )
    np.testing.assert_array_equal(whole.tokens[order], shuffled.tokens)
    np.testing.assert_allclose(whole.log_probs[order], shuffled.log_probs, atol=1e-5)


@BY_WIRING
def test_batch_and_padding_do_not_matter(wiring):
    model, params = make(wiring)
    source, lengths = sources()
    whole = greedy_decode(model, params, source, lengths, max_length=MAX_LENGTH)
    wider = jnp.pad(source[:3], ((0, 2), (0, 5)), constant_values=3)
    part = greedy_decode(
        model, params, wider, jnp.pad(lengths[:3], (0, 2)), max_length=MAX_LENGTH + 4
    )
    for row in range(3):
        ended = whole.lengths[row] < MAX_LENGTH
        np.testing.assert_array_equal(
            part.tokens[row, :MAX_LENGTH], whole.tokens[row, :MAX_LENGTH]
        )
        if ended:
            np.testing.assert_allclose(
                part.log_probs[row], whole.log_probs[row], atol=1e-5
            )
        np.testing.assert_allclose(
            part.weights[row, :MAX_LENGTH, :6],
            whole.weights[row, :MAX_LENGTH],
            atol=1e-5,
        )
        np.testing.assert_array_equal(part.weights[row, :, 6:], 0)


def test_a_second_call_does_not_compile():
    model, params = make()
    source, lengths = sources()
    greedy_decode(model, params, source, lengths, max_length=4)
    before = greedy._search._cache_size()
    greedy_decode(make()[0], params, source + 1, lengths, max_length=4)
    greedy_decode(model, params, np.asarray(source), np.asarray(lengths), max_length=4)
    assert greedy._search._cache_size() == before


def test_stops_when_every_row_has_ended():
    """With EOS certain, a length that would take an hour takes one step."""
    model, params = make(end=1000.0)
    steps = []

    def counted(*arguments):
        jax.debug.callback(lambda: steps.append(None))
        return model.step(*arguments)

    decoded = greedy_decode(
        model._replace(step=counted), params, *sources(), max_length=50
    )
    jax.block_until_ready(decoded)
    jax.effects_barrier()
    assert len(steps) == 1
    np.testing.assert_array_equal(decoded.lengths, 0)
    rows = np.array(LENGTHS) > 0
    np.testing.assert_array_equal(decoded.tokens[:, 0], np.where(rows, EOS, PAD))


def test_parameters_that_are_not_numbers_end_too():
    model, params = make()
    params["decoder"]["projection_bias"] *= jnp.nan
    decoded = greedy_decode(model, params, *sources(), max_length=4)
    assert np.isnan(decoded.log_probs[np.array(LENGTHS) > 0]).all()


def test_slots_do_not_matter():
    """Eight sentences one after the other, by threes, and all at once."""
    model, params = make()
    whole = greedy_decode(model, params, *sources(), max_length=MAX_LENGTH)
    for slots in (1, 3, 20):
        few = greedy_decode(
            model, params, *sources(), max_length=MAX_LENGTH, slots=slots
        )
        np.testing.assert_array_equal(few.tokens, whole.tokens)
        np.testing.assert_array_equal(few.lengths, whole.lengths)
        np.testing.assert_allclose(few.log_probs, whole.log_probs, atol=1e-5)
        np.testing.assert_allclose(few.weights, whole.weights, atol=1e-5)


def test_a_slot_that_is_done_takes_the_next_sentence():
    """Steps taken with two slots: those of the sentences shared out as they come."""
    model, params = make()
    steps = []

    def counted(*arguments):
        jax.debug.callback(lambda: steps.append(None))
        return model.step(*arguments)

    decoded = greedy_decode(
        model._replace(step=counted), params, *sources(), max_length=MAX_LENGTH, slots=2
    )
    jax.block_until_ready(decoded)
    jax.effects_barrier()
    free = [0, 0]
    for length in np.asarray(decoded.lengths):
        slot = free.index(min(free))
        # A filler row takes a step too: that of the others meanwhile.
        free[slot] += int(length) + 1
    assert len(steps) == max(free)
    assert max(free) < (np.asarray(decoded.lengths) + 1).sum()


@pytest.mark.parametrize(
    ("source", "lengths", "max_length", "message"),
    [
        (
            jnp.zeros(3, jnp.int32),
            jnp.zeros(3, jnp.int32),
            3,
            r"source must be \[B, S\]",
        ),
        (
            jnp.zeros((2, 3), jnp.int32),
            jnp.zeros(3, jnp.int32),
            3,
            r"\(2, 3\) and \(3,\)",
        ),
        (jnp.zeros((2, 3), jnp.int32), jnp.zeros(2, jnp.int32), 0, "max_length.*not 0"),
    ],
)
def test_arguments_that_do_not_fit(source, lengths, max_length, message):
    model, params = make()
    with pytest.raises(ValueError, match=message):
        greedy_decode(model, params, source, lengths, max_length=max_length)
