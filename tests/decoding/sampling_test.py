"""Sampling draws what it should, and each sentence draws for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.data.vocabulary import BOS, EOS, PAD
from attention_jax.decoding import Sampling, greedy_decode, sample_decode, sampling
from tests.decoding.cases import LENGTHS, make, sources

LOGITS = np.array([2.0, -np.inf, 1.0, 0.5, -1.0, 1.5], np.float32)


def frequencies(settings, number=20_000):
    keys = jax.random.split(jax.random.key(0), number)
    options = settings._asdict()
    options["top_p"] = None if settings.top_p == 1 else settings.top_p
    one = jax.vmap(lambda key: sampling.draw(key, jnp.array(LOGITS), **options))
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
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12),
    st.floats(0.015625, 1.0, width=32),
)
def test_a_nucleus_is_the_fewest_words_that_suffice(logits, top_p):
    logits = np.array(logits, np.float32)
    inside = np.asarray(sampling.in_nucleus(jnp.array(logits), top_p))
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
    inside = sampling.in_nucleus(jnp.array([0.0, 2.0, 1.0]), 1e-300)
    np.testing.assert_array_equal(inside, [False, True, False])


def test_a_sentence_draws_by_its_id_alone():
    model, params = make()
    source, lengths = sources()
    rng, ids = jax.random.key(3), jnp.arange(8) + 40
    settings = Sampling(temperature=1.3)
    options = {"rng": rng, "sampling": settings, "max_length": 7}
    whole = sample_decode(model, params, source, lengths, ids=ids, **options)
    order = np.random.default_rng(0).permutation(8)
    wider = jnp.pad(source[order], ((0, 1), (0, 4)), constant_values=3)
    other = sample_decode(
        model,
        params,
        wider,
        jnp.pad(lengths[order], (0, 1)),
        ids=jnp.pad(ids[order], (0, 1)),
        **options,
    )
    np.testing.assert_array_equal(whole.tokens[order], other.tokens[:8])
    np.testing.assert_allclose(whole.log_probs[order], other.log_probs[:8], atol=1e-5)
    # Another id or another seed draws something else.
    changed = sample_decode(model, params, source, lengths, ids=ids + 1, **options)
    assert (changed.tokens != whole.tokens).any()
    options["rng"] = jax.random.key(4)
    changed = sample_decode(model, params, source, lengths, ids=ids, **options)
    assert (changed.tokens != whole.tokens).any()


def test_equal_sources_draw_differently_by_default():
    model, params = make()
    source, lengths = sources((6,) * 8)
    same = jnp.broadcast_to(source[:1], source.shape)
    found = sample_decode(
        model, params, same, lengths, max_length=8, rng=jax.random.key(0)
    )
    assert len({tuple(row) for row in found.tokens.tolist()}) > 1


@pytest.mark.parametrize(
    "settings", [Sampling(temperature=1e-4), Sampling(top_k=1), Sampling(top_p=1e-4)]
)
def test_the_narrowest_sampling_is_greedy_search(settings):
    model, params = make()
    drawn = sample_decode(
        model,
        params,
        *sources(),
        max_length=7,
        rng=jax.random.key(1),
        sampling=settings,
    )
    greedy = greedy_decode(model, params, *sources(), max_length=7)
    np.testing.assert_array_equal(drawn.tokens, greedy.tokens)
    # The probabilities are the model's own.
    np.testing.assert_allclose(drawn.log_probs, greedy.log_probs, atol=1e-5)


def test_other_temperatures_and_probabilities_do_not_compile():
    model, params = make()
    options = {"max_length": 7, "rng": jax.random.key(1)}

    def draw(temperature, top_p):
        settings = Sampling(temperature=temperature, top_p=top_p)
        sample_decode(model, params, *sources(), sampling=settings, **options)
        return sampling._search._cache_size()

    assert draw(0.7, 1.0) == draw(0.71, 1.0)
    assert draw(0.7, 0.9) == draw(1.3, 0.5)


def test_pad_and_bos_are_never_drawn():
    model, params = make()
    favoured = jnp.zeros(11).at[jnp.array([PAD, BOS])].set(50.0)
    params["decoder"]["projection_bias"] = favoured
    found = sample_decode(
        model,
        params,
        *sources(),
        max_length=7,
        rng=jax.random.key(1),
        sampling=Sampling(temperature=3.0),
    )
    for row, length in zip(found.tokens, found.lengths, strict=True):
        assert not set(row[:length].tolist()) & {PAD, BOS, EOS}
    # And so are very unlikely under the model.
    assert (found.log_probs[np.array(LENGTHS) > 0] < -40).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Sampling(temperature=0.0), "temperature must be above 0, got 0.0"),
        (Sampling(temperature=float("nan")), "temperature must be above 0"),
        (Sampling(top_k=-1), "top_k must be at least 0, got -1"),
        (Sampling(top_p=0.0), "top_p must be above 0 and at most 1, got 0.0"),
        (Sampling(top_p=1.5), "top_p must be above 0 and at most 1"),
    ],
)
def test_numbers_out_of_range(settings, message):
    model, params = make()
    with pytest.raises(ValueError, match=message):
        sample_decode(
            model,
            params,
            *sources(),
            max_length=3,
            rng=jax.random.key(0),
            sampling=settings,
        )


def test_ids_that_do_not_fit():
    model, params = make()
    with pytest.raises(ValueError, match=r"ids must be \[8\]"):
        sample_decode(
            model,
            params,
            *sources(),
            max_length=3,
            rng=jax.random.key(0),
            ids=jnp.arange(3),
        )
