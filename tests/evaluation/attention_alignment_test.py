import numpy as np
import pytest

from attention_jax.evaluation.attention_alignment import (
    AlignedPhrase,
    ArgmaxAccuracy,
    alignment_accuracy,
)


def one_hot(*looked_at, sources):
    return np.eye(sources)[list(looked_at)]


def test_a_hit_is_a_linked_word_that_is_brightest():
    weights = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.2, 0.2, 0.6]])
    links = {(1, 0), (2, 0), (2, 1)}  # the third word has none
    found = alignment_accuracy([AlignedPhrase(weights, links, ["a", "b", "c"])])
    assert found.phrases == 1
    assert found.all_words == ArgmaxAccuracy(hits=1, words=2, chance=0.5)
    assert found.all_words.share == 0.5


def test_words_with_digits_count_apart():
    weights = one_hot(0, 1, 2, sources=4)
    links = {(0, 0), (3, 1), (2, 2)}
    found = alignment_accuracy([AlignedPhrase(weights, links, ["2024", "May", "12.5"])])
    assert (found.all_words.hits, found.all_words.words) == (2, 3)
    without = found.words_without_digits
    assert (without.hits, without.words, without.chance) == (0, 1, 0.25)


def test_against_counting_word_by_word():
    rng = np.random.default_rng(0)
    phrases, hits, words, chances = [], 0, 0, []
    for _ in range(30):
        targets, sources = rng.integers(1, 7, 2)
        weights = rng.dirichlet(np.ones(sources), targets)
        pairs = np.argwhere(rng.random((sources, targets)) < 0.3)
        links = {(int(s), int(t)) for s, t in pairs}
        phrases.append(AlignedPhrase(weights, links, ["w"] * targets))
        for t in range(targets):
            linked = [s for s in range(sources) if (s, t) in links]
            if linked:
                words += 1
                best = max(range(sources), key=lambda s, t=t, w=weights: w[t, s])
                hits += best in linked
                chances.append(len(linked) / sources)
    found = alignment_accuracy(phrases)
    assert found.phrases == 30
    assert (found.all_words.hits, found.all_words.words) == (hits, words)
    assert found.all_words.chance == pytest.approx(np.mean(chances))
    assert 0 < hits < words
    assert found.words_without_digits == found.all_words


@pytest.mark.parametrize(
    ("row", "links", "hits"),
    [
        ([0.0, 0.0, 0.0], {(0, 0)}, 0),  # looks nowhere
        ([0.0, 0.0, 0.0], {(0, 0), (1, 0), (2, 0)}, 0),
        ([1 / 3, 1 / 3, 1 / 3], {(0, 0)}, 0),  # looks everywhere
        ([0.5, 0.5, 0.0], {(0, 0), (1, 0)}, 1),  # equally bright, both linked
        ([0.5, 0.5, 0.0], {(0, 0), (2, 0)}, 0),
    ],
)
def test_no_word_scores_by_the_order_of_the_source(row, links, hits):
    found = alignment_accuracy([AlignedPhrase(np.array([row]), links, ["a"])])
    assert (found.all_words.hits, found.all_words.words) == (hits, 1)


def test_without_linked_words_there_is_no_share():
    for phrases in ([], [AlignedPhrase(np.ones((1, 1)), set(), ["a"])]):
        found = alignment_accuracy(phrases)
        assert found.all_words == ArgmaxAccuracy(0, 0, 0.0)
        assert found.all_words.share is None
        assert found.phrases == len(phrases)


def test_weights_and_links_that_do_not_match_the_words():
    good = AlignedPhrase(np.ones((1, 2)), {(0, 0)}, ["a"])
    with pytest.raises(ValueError, match=r"phrase 2: weights must be \[2, S\]"):
        alignment_accuracy([good, good._replace(target_tokens=["a", "b"])])
    with pytest.raises(ValueError, match=r"phrase 1: weights must be .* shape \(2,\)"):
        alignment_accuracy([good._replace(weights=np.ones(2), target_tokens=["a"] * 2)])
    for link in ((2, 0), (0, 1), (-1, 0)):
        with pytest.raises(ValueError, match="outside 2 source and 1 target"):
            alignment_accuracy([good._replace(links={link})])
