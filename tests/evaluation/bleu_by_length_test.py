"""BLEU in bins of source lengths."""

import pytest

from attention_jax.evaluation.quality import bleu
from attention_jax.evaluation.significance import (
    bleu_by_length,
    equal_count_edges,
)

LENGTHS = [9, 2, 5, 2, 7, 3, 30]
REFERENCES = [f"here are some words number {n} ." for n in range(len(LENGTHS))]
# Sources of up to 5 tokens are translated well.
HYPOTHESES = [
    text if length <= 5 else text.replace("some words", "words")
    for text, length in zip(REFERENCES, LENGTHS, strict=True)
]


def bins(edges, systems=None):
    return bleu_by_length(
        systems or {"run": HYPOTHESES},
        REFERENCES,
        LENGTHS,
        edges=edges,
        language="en",
        samples=20,
    )


def test_every_sentence_is_in_the_bin_of_its_length():
    low, middle, high = bins((3, 8))
    assert [b.name for b in (low, middle, high)] == ["2–3", "5–7", "9–30"]
    assert [b.sentences for b in (low, middle, high)] == [3, 2, 2]
    assert middle.mean_length == 6
    chosen = [2, 4]
    expected = bleu(
        [HYPOTHESES[i] for i in chosen], [REFERENCES[i] for i in chosen], language="en"
    )
    [estimate] = middle.bleu
    assert estimate.score == pytest.approx(expected.score)
    assert low.bleu[0].score == pytest.approx(100) and high.bleu[0].score < 90
    assert "bs:20" in estimate.signature


def test_one_bin_and_bins_without_sentences():
    [every] = bins(())
    whole = bleu(HYPOTHESES, REFERENCES, language="en")
    assert every.bleu[0].score == pytest.approx(whole.score)
    assert [b.name for b in bins((1, 4, 10, 20, 40))] == ["2–3", "5–9", "30"]


@pytest.mark.parametrize(
    ("lengths", "number", "edges"),
    [
        (range(1, 11), 2, (5,)),
        (range(1, 11), 5, (2, 4, 6, 8)),
        ([4, 4, 4, 4], 3, ()),
        ([1, 1, 1, 1, 2, 9], 3, (1,)),
        ([3], 5, ()),
        ([5, 1], 2, (1,)),
        ([5, 1], 10**12, (1,)),
    ],
)
def test_equal_counts(lengths, number, edges):
    assert equal_count_edges(list(lengths), number) == edges


def test_what_cannot_be_binned():
    with pytest.raises(ValueError, match="edges must increase, got 5, 5"):
        bins((5, 5))
    with pytest.raises(ValueError, match="lengths must be 7, one a reference, got 1"):
        bleu_by_length({"x": HYPOTHESES}, REFERENCES, [1], edges=(), language="en")
    with pytest.raises(ValueError, match="equally many, got 1 and 7"):
        bins((), {"x": ["a"]})
    with pytest.raises(ValueError, match="lengths is empty"):
        equal_count_edges([], 2)
    with pytest.raises(ValueError, match="number must be at least 1, got 0"):
        equal_count_edges([1], 0)
