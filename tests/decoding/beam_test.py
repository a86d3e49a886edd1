"""Beam search against lists, and its promises."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.data.batches import Batch
from attention_jax.data.codec import BOS, EOS, PAD
from attention_jax.decoding import (
    Limits,
    Ranking,
    beam,
    beam_decode,
    force_decode,
    greedy_decode,
    length_limits,
)
from attention_jax.errors import UnknownNameError
from attention_jax.models.attention_wiring import wirings
from tests.decoding.cases import (
    LENGTHS,
    Stepper,
    count_steps,
    make,
    slow_beam,
    sources,
)
from tests.models.cases import TARGET_VOCABULARY

MAX_LENGTH = 6


def search(model, params, given=None, **options):
    """Shares one compiled program wherever shapes, sizes and penalties are the same."""
    options = {"max_length": MAX_LENGTH, "beam_size": 3, "n_best": 2, **options}
    return beam_decode(model, params, *(given or sources()), **options)


def words_of(decoded, row, n):
    """The words of one translation."""
    return tuple(decoded.tokens[row, n, : decoded.lengths[row, n]].tolist())


def score_in_numpy(ranking, stepper, source_length):
    """The formulas of `penalties`, in float64."""

    def score(words, log_prob):
        length = len(words) + 1
        divisor = {
            "none": 1.0,
            "gnmt": ((5 + length) / 6) ** ranking.alpha,
            "plain": length**ranking.alpha,
        }[ranking.length]
        seen = stepper.attention(words).sum(axis=0)[:source_length]
        penalty = {
            "none": 0.0,
            "gnmt": np.log(np.clip(seen, 1e-6, 1)).sum(),
            "summary": -np.maximum(seen - 1, 0).sum(),
        }[ranking.coverage]
        return log_prob / divisor + ranking.beta * penalty

    return score


RANKINGS = [
    Ranking(),
    Ranking("gnmt", 0.8),
    Ranking("plain", 1.0, "gnmt", 0.3),
    Ranking("none", 1.0, "summary", 0.7),
]


# Every wiring without penalties, every penalty with one wiring; the rest is slow.
CASES = [
    pytest.param(
        wiring,
        ranking,
        marks=[] if ranking == RANKINGS[0] or wiring == "after" else pytest.mark.full,
        id=f"{wiring}-{ranking.length}-{ranking.coverage}",
    )
    for wiring in wirings.names()
    for ranking in RANKINGS
    # Coverage is about attention.
    if wiring != "none" or ranking.coverage == "none"
]


@pytest.mark.parametrize(("wiring", "ranking"), CASES)
def test_equals_beam_search_with_lists(wiring, ranking):
    """Which runs to the longest length: so stopping early changes nothing."""
    model, params = make(wiring, end=2.0, scale=2.0)
    source, lengths = sources()
    limits = length_limits(
        np.asarray(lengths), max_ratio=0.5, max_offset=3, min_ratio=0.4
    )
    found = search(model, params, ranking=ranking, limits=limits)
    num_tokens = np.asarray(found.lengths)
    rows = np.asarray(lengths) > 0
    assert (num_tokens[rows] >= limits.shortest[rows, None]).all()
    assert (num_tokens[rows] <= limits.longest[rows, None]).all()
    for row in np.flatnonzero(lengths):
        stepper = Stepper(model, params, source[row], lengths[row])
        slow = slow_beam(
            stepper,
            vocabulary=TARGET_VOCABULARY,
            beam_size=3,
            shortest=limits.shortest[row],
            longest=limits.longest[row],
            score=score_in_numpy(ranking, stepper, int(lengths[row])),
        )
        for n, (score, log_prob, words) in enumerate(slow[:2]):
            assert words_of(found, row, n) == words
            np.testing.assert_allclose(found.scores[row, n], score, atol=2e-5)
            np.testing.assert_allclose(found.log_probs[row, n], log_prob, atol=2e-5)
            # The attention of the words that were found, not of others in the beam.
            np.testing.assert_allclose(
                found.weights[row, n, : len(words) + 1],
                stepper.attention(words),
                atol=2e-5,
            )
            tail = found.tokens[row, n, len(words) :].tolist()
            assert tail == [EOS] + [PAD] * (len(tail) - 1)
            assert not found.weights[row, n, len(words) + 1 :].any()


@pytest.mark.parametrize("wiring", ["after", "before"])
def test_a_beam_of_one_is_greedy_search(wiring):
    rows = np.array(LENGTHS) > 0
    for end in (-1.0, 2.0):
        model, params = make(wiring, end=end)
        greedy = greedy_decode(model, params, *sources(), max_length=9)
        one = search(model, params, max_length=9, beam_size=1, n_best=1)
        for name in ("tokens", "lengths", "log_probs", "weights"):
            ours, theirs = getattr(one, name)[rows, 0], getattr(greedy, name)[rows]
            np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("wiring", wirings.names())
def test_what_is_found_scores_as_forced_decoding_says(wiring):
    model, params = make(wiring)
    source, lengths = sources()
    found = search(model, params)
    for n in range(2):
        tokens = np.asarray(found.tokens[:, n])
        num_words = np.asarray(found.lengths[:, n])
        first = np.full((len(tokens), 1), BOS)
        inputs = np.concatenate([first, tokens[:, :-1]], axis=1)
        steps = np.where(np.asarray(found.scores[:, n]) > -np.inf, num_words + 1, 0)
        batch = Batch(source, lengths, inputs, tokens, steps, np.arange(len(tokens)))
        forced = force_decode(model, params, batch)
        there = (steps > 0) & (np.asarray(lengths) > 0)
        np.testing.assert_array_equal(forced.lengths[there], num_words[there])
        np.testing.assert_array_equal(forced.tokens[there], tokens[there])
        for name in ("log_probs", "weights"):
            ours, theirs = getattr(found, name)[there, n], getattr(forced, name)[there]
            np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=name)


def test_batch_order_padding_and_slots_do_not_matter():
    model, params = make()
    source, lengths = sources()
    ranking = RANKINGS[2]
    whole = search(model, params, ranking=ranking)
    order = np.random.default_rng(0).permutation(len(LENGTHS))
    longest = jnp.full(len(LENGTHS), MAX_LENGTH)
    other = search(
        model,
        params,
        (
            jnp.pad(source[order], ((0, 2), (0, 5)), constant_values=3),
            jnp.pad(lengths[order], (0, 2)),
        ),
        max_length=11,
        limits=Limits(jnp.zeros(10, jnp.int32), jnp.pad(longest, (0, 2))),
        ranking=ranking,
        slots=3,
    )
    for new, old in enumerate(order):
        for n in range(2):
            assert words_of(whole, old, n) == words_of(other, new, n)
        np.testing.assert_allclose(whole.scores[old], other.scores[new], atol=1e-5)
        weights = other.weights[new, :, : MAX_LENGTH + 1, :6]
        np.testing.assert_allclose(whole.weights[old], weights, atol=1e-5)


def test_nothing_has_one_translation_as_in_greedy_search():
    model, params = make()
    found = search(model, params)
    row = LENGTHS.index(0)
    assert found.scores[row].tolist() == found.log_probs[row].tolist() == [0, -np.inf]
    assert not found.tokens[row].any() and not found.weights[row].any()
    assert (found.scores[np.array(LENGTHS) > 0] > -np.inf).all()


def test_fewer_than_asked_for():
    """With EOS the only thing that may come next there is one translation."""
    model, params = make()
    none = jnp.zeros(len(LENGTHS), jnp.int32)
    found = search(model, params, limits=Limits(none, none))
    np.testing.assert_array_equal(found.lengths, 0)
    assert found.tokens[0, 0].tolist() == [EOS] + [PAD] * MAX_LENGTH
    assert (found.scores[:, 1:] == -np.inf).all()


def test_it_stops_when_nothing_better_can_come():
    """With EOS all but certain, one step is enough; with n_best of 2, two are."""
    model, params = make(end=30.0)
    counted, steps = count_steps(model)
    for n_best in (1, 2):
        found = search(counted, params, max_length=50, n_best=n_best)
        assert steps(found) == n_best
        np.testing.assert_array_equal(found.lengths[:, 0], 0)


def test_other_penalties_of_a_kind_do_not_compile():
    model, params = make()
    search(model, params, ranking=Ranking("gnmt", 0.5))
    before = beam._search._cache_size()
    search(model, params, ranking=Ranking("gnmt", 1.5))
    search(make()[0], params, ranking=Ranking("gnmt", 0.6))
    assert beam._search._cache_size() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"beam_size": 2, "n_best": 3}, "at most beam_size, 2; got 3"),
        ({"beam_size": 2, "n_best": 0}, "n_best must be at least 1"),
        ({"beam_size": 2, "ranking": Ranking(alpha=-1.0)}, "alpha and beta must be"),
        ({"beam_size": 2, "ranking": Ranking(beta=float("nan"))}, "got Ranking"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        search(*make(), **{"n_best": 1, **options})


def test_an_unknown_penalty():
    with pytest.raises(UnknownNameError, match="Did you mean 'gnmt'"):
        search(*make(), ranking=Ranking("gmnt"))


def test_of_equal_endings_that_of_the_earlier_hypothesis_counts_as_likelier():
    """A token, and two ends of one probability, in a beam of two."""
    low = -200.0  # Nothing beside the others, in any order of adding.
    logits = jnp.full((2, 1, 6), low).at[:, 0, EOS].set(0.0)
    # The second hypothesis would likeliest say PAD, which it may not.
    logits = logits.at[0, 0, 4].set(1.0).at[1, 0, PAD].set(1.0)
    limits = Limits(jnp.zeros(1, jnp.int32), jnp.full(1, 9))
    ending, tokens, parents, log_probs = beam.continuations(
        logits, jnp.zeros((1, 2)), limits, jnp.zeros(1, jnp.int32)
    )
    share = 1 + np.exp(-1.0)
    np.testing.assert_allclose(ending[0], [-1 - np.log(share), -np.inf], rtol=1e-6)
    assert (tokens[0, 0], parents[0, 0]) == (4, 0)
    np.testing.assert_allclose(log_probs[0, 0], -np.log(share), rtol=1e-6)
