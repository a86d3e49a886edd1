"""BLEU in bins of source lengths, and its figure."""

import pytest

from attention_jax.evaluation.length_curves import plot_length_curves
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


def test_the_figure_has_a_line_and_a_band_for_each_system(tmp_path):
    path = tmp_path / "curve.png"
    found = bins((3, 8), {"$with$": HYPOTHESES, "without": REFERENCES})
    figure = plot_length_curves(found, unit="characters", title="BLEU", path=path)
    assert path.stat().st_size > 10_000
    [axes] = figure.axes
    first, second = axes.lines
    assert list(first.get_xdata()) == [b.mean_length for b in found]
    assert list(first.get_ydata()) == [b.bleu[0].score for b in found]
    assert list(second.get_ydata()) == pytest.approx([100] * 3)
    assert len(axes.collections) == 2
    labels = axes.get_legend().get_texts()
    assert [text.get_text() for text in labels] == ["$with$", "without"]
    assert not any(text.get_parse_math() for text in labels)
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["2–3\n(3)", "5–7\n(2)", "9–30\n(2)"]
    assert "characters" in axes.get_xlabel()


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="bins is empty"):
        plot_length_curves([])
    with pytest.raises(ValueError, match="xyz"):
        plot_length_curves(bins(()), path=tmp_path / "f.xyz")
