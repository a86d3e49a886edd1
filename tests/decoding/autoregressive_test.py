"""Greedy search against a Python loop over `step`; sampling draws what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.data.codec import BOS, EOS, PAD
from attention_jax.decoding import (
    Sampling,
    autoregressive,
    greedy_decode,
    sample_decode,
)
from attention_jax.models.attention_wiring import wirings
from tests.decoding.cases import LENGTHS, count_steps, make, sources

MAX_LENGTH = 9
LOGITS = np.array([2.0, -np.inf, 1.0, 0.5, -1.0, 1.5], np.float32)


def greedy(model, params, given=None, **options):
    """Shares one compiled program wherever the shapes are the same."""
    options = {"max_length": MAX_LENGTH, **options}
    return greedy_decode(model, params, *(given or sources()), **options)


def drawn(model, params, sampling=Sampling(), seed=1, **options):  # noqa: B008
    options = {"max_length": MAX_LENGTH, "rng": jax.random.key(seed), **options}
    return sample_decode(model, params, *sources(), sampling=sampling, **options)


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


@pytest.mark.parametrize("wiring", wirings.names())
def test_equals_a_python_loop(wiring):
    model, params = make(wiring)
    source, lengths = sources()
    decoded = greedy(model, params)
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
    # The sentences differ in length and in tokens: they end early, late and never.
    num_tokens = np.asarray(decoded.lengths)[np.array(LENGTHS) > 0]
    assert len(set(num_tokens.tolist())) >= 4
    assert len(np.unique(decoded.tokens)) >= 7
    # A row of length 0 gives nothing.
    for leaf in decoded:
        assert not np.any(leaf[LENGTHS.index(0)])


def test_a_second_call_does_not_compile():
    model, params = make()
    source, lengths = sources()
    greedy(model, params)
    before = autoregressive._search._cache_size()
    greedy(make()[0], params, (source + 1, lengths))
    greedy(model, params, (np.asarray(source), np.asarray(lengths)))
    assert autoregressive._search._cache_size() == before


def test_stops_when_every_row_has_ended():
    """With EOS certain, a length that would take an hour takes one step."""
    model, params = make(end=1000.0)
    counted, steps = count_steps(model)
    decoded = greedy(counted, params, max_length=50)
    assert steps(decoded) == 1
    np.testing.assert_array_equal(decoded.lengths, 0)
    rows = np.array(LENGTHS) > 0
    np.testing.assert_array_equal(decoded.tokens[:, 0], np.where(rows, EOS, PAD))


def test_parameters_that_are_not_numbers_end_too():
    model, params = make()
    params["decoder"]["projection_bias"] *= jnp.nan
    decoded = greedy(model, params)
    assert np.isnan(decoded.log_probs[np.array(LENGTHS) > 0]).all()


def test_a_batch_slot_that_is_done_takes_the_next_sentence():
    """With the same results, in as many steps as the sentences shared out need."""
    model, params = make()
    whole = greedy(model, params)
    counted, steps = count_steps(model)
    for slots in (2, 20):
        few = greedy(counted, params, slots=slots)
        taken = steps(few)
        np.testing.assert_array_equal(few.tokens, whole.tokens)
        np.testing.assert_array_equal(few.lengths, whole.lengths)
        np.testing.assert_allclose(few.log_probs, whole.log_probs, atol=1e-5)
        np.testing.assert_allclose(few.weights, whole.weights, atol=1e-5)
        free = [0] * min(slots, 8)
        for length in np.asarray(whole.lengths):
            # A padding row takes a step too: that of the others meanwhile.
            free[free.index(min(free))] += int(length) + 1
        assert taken == max(free)


def frequencies(settings, number=20_000):
    keys = jax.random.split(jax.random.key(0), number)
    options = settings._asdict()
    options["top_p"] = None if settings.top_p == 1 else settings.top_p
    one = jax.vmap(lambda key: autoregressive.draw(key, jnp.array(LOGITS), **options))
    return np.bincount(np.asarray(one(keys)), minlength=len(LOGITS)) / number


def expected(settings):
    """Temperature, top-k, top-p in this order, in float64."""
    logits = LOGITS.astype(np.float64) / settings.temperature
    if settings.top_k < len(logits) and settings.top_k:
        least = np.sort(logits)[-settings.top_k]
        logits = np.where(logits >= least, logits, -np.inf)
    probs = np.exp(logits - logits.max())
    probs /= probs.sum()
    order = np.argsort(-probs)
    total, kept = 0.0, []
    for word in order:
        if total >= settings.top_p:
            break
        kept.append(word)
        total += probs[word]
    mask = np.isin(np.arange(len(probs)), kept)
    return np.where(mask, probs, 0) / probs[mask].sum()


@pytest.mark.parametrize(
    "settings",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(top_k=2),
        Sampling(top_p=0.6),
        Sampling(temperature=2.0, top_k=3, top_p=0.7),
        Sampling(top_k=50, top_p=1.0),
    ],
    ids=str,
)
def test_words_are_drawn_as_often_as_they_should_be(settings):
    """Four standard errors of 20,000 draws are at most 0.015."""
    found, wanted = frequencies(settings), expected(settings)
    np.testing.assert_allclose(found, wanted, atol=0.015)
    np.testing.assert_array_equal(found == 0, wanted == 0)


@settings(deadline=None)
@given(
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=4),
    st.floats(0.015625, 1.0, width=32),
)
def test_a_nucleus_is_the_fewest_words_that_suffice(logits, top_p):
    logits = np.array(logits, np.float32)
    inside = np.asarray(autoregressive.in_nucleus(jnp.array(logits), top_p))
    probs = np.asarray(jax.nn.softmax(jnp.array(logits)))
    assert inside[probs.argmax()]
    # Likelier than anything outside, and without the least likely it would not suffice.
    if not inside.all():
        assert probs[inside].min() > probs[~inside].max()
        assert probs[inside].sum() >= top_p - 1e-5
    above = probs > probs[inside].min()
    assert probs[above].sum() < top_p + 1e-5


def test_a_nucleus_of_next_to_nothing_is_the_likeliest_word():
    # 1e-300 is 0 in float32, and no sum of probabilities is below it.
    inside = autoregressive.in_nucleus(jnp.array([0.0, 2.0, 1.0]), 1e-300)
    np.testing.assert_array_equal(inside, [False, True, False])


def test_a_sentence_draws_by_its_id_alone():
    model, params = make()
    source, lengths = sources()
    ids, settings = jnp.arange(8) + 40, Sampling(temperature=1.3)
    whole = drawn(model, params, settings, ids=ids)
    order = np.random.default_rng(0).permutation(8)
    other = sample_decode(
        model,
        params,
        jnp.pad(source[order], ((0, 1), (0, 4)), constant_values=3),
        jnp.pad(lengths[order], (0, 1)),
        max_length=MAX_LENGTH,
        rng=jax.random.key(1),
        sampling=settings,
        ids=jnp.pad(ids[order], (0, 1)),
    )
    np.testing.assert_array_equal(whole.tokens[order], other.tokens[:8])
    np.testing.assert_allclose(whole.log_probs[order], other.log_probs[:8], atol=1e-5)
    # Another id or another seed draws something else.
    changed = drawn(model, params, settings, ids=ids + 1)
    assert (changed.tokens != whole.tokens).any()
    changed = drawn(model, params, settings, seed=4, ids=ids)
    assert (changed.tokens != whole.tokens).any()


def test_the_narrowest_sampling_is_greedy_search():
    model, params = make()
    expected = greedy(model, params)
    for narrow in (Sampling(temperature=1e-4), Sampling(top_k=1), Sampling(1, 0, 1e-4)):
        found = drawn(model, params, narrow)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        # The probabilities are the model's own.
        np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)


def test_other_temperatures_and_probabilities_do_not_compile():
    model, params = make()

    def programs(temperature, top_p):
        drawn(model, params, Sampling(temperature=temperature, top_p=top_p))
        return autoregressive._search._cache_size()

    assert programs(0.7, 1.0) == programs(0.71, 1.0)
    assert programs(0.7, 0.9) == programs(1.3, 0.5)


OUT_OF_RANGE = {"temperature": float("nan"), "top_k": -1, "top_p": 0}


@pytest.mark.parametrize(("name", "value"), [*OUT_OF_RANGE.items(), ("top_p", 1.5)])
def test_numbers_out_of_range(name, value):
    message = r"temperature must be above 0.* got Sampling\("
    with pytest.raises(ValueError, match=message):
        drawn(*make(), Sampling(**{name: value}))
