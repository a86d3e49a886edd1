"""The paired bootstrap, and BLEU in bins of source lengths."""

import os

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from attention_jax.evaluation.quality import bleu, translation_quality
from attention_jax.evaluation.significance import (
    SAMPLES,
    SEED,
    bleu_by_length,
    equal_count_edges,
    paired_bootstrap,
)

WORDS = [
    *("the", "a", "cat", "dog", "sat", "ran"),
    *("on", "under", "mat", "house", "today", "slowly"),
]


def sentences(number=40):
    rng = np.random.default_rng(3)
    return [" ".join(rng.choice(WORDS, 8)) for _ in range(number)]


def spoilt(references, share, seed=5):
    """The last word of so many is another one."""
    rng = np.random.default_rng(seed)
    return [
        text if rng.random() > share else " ".join([*text.split()[:-1], "zebra"])
        for text in references
    ]


REFERENCES = sentences()
WORSE, BETTER = spoilt(REFERENCES, 0.9), spoilt(REFERENCES, 0.1)


def found(system, metric, estimates):
    [one] = [e for e in estimates if (e.system, e.metric) == (system, metric)]
    return one


@pytest.fixture(scope="module")
def estimates():
    systems = {"worse": WORSE, "better": BETTER, "same": list(WORSE)}
    return paired_bootstrap(systems, REFERENCES, language="en")


def test_scores_are_those_of_the_metrics(estimates):
    for name, texts in (("worse", WORSE), ("better", BETTER)):
        for metric in translation_quality(texts, REFERENCES, language="en"):
            if metric.name == "exact match":
                continue
            estimate = found(name, metric.name, estimates)
            assert estimate.score == pytest.approx(metric.score, abs=1e-9)
            named = f"bs:{SAMPLES}|seed:{SEED}|"
            assert estimate.signature.replace(named, "") == metric.signature


def test_the_formula_is_the_documented_one(estimates):
    """Resampled here without sacrebleu's loop: p and the interval from the definition."""
    samples, number = 200, len(REFERENCES)
    draws = np.random.default_rng(SEED).choice(number, size=(samples, number))

    def scores(texts):
        return np.array(
            [
                BLEU(force=True)
                .corpus_score([texts[i] for i in draw], [[REFERENCES[i] for i in draw]])
                .score
                for draw in draws
            ]
        )

    systems = {"worse": WORSE, "other": spoilt(REFERENCES, 0.9, seed=6)}
    base, one = paired_bootstrap(
        systems, REFERENCES, language="en", metrics=("BLEU",), samples=samples
    )
    ours, theirs = scores(systems["other"]), scores(WORSE)
    differences = np.abs(ours - theirs)
    above = np.sum(differences - differences.mean() > abs(one.score - base.score))
    assert one.p_value == pytest.approx((above + 1) / (samples + 1), abs=1e-9)
    assert 0.01 < one.p_value < 0.9
    low, high = np.sort(ours)[[samples // 40, -samples // 40 - 1]]
    assert one.half_width == pytest.approx((high - low) / 2, abs=1e-3)
    assert one.mean == pytest.approx(ours.mean(), abs=1e-3)
    assert one.interval == (one.score - one.half_width, one.score + one.half_width)


def test_an_interval_has_its_score_in_it_and_ends_where_the_metric_does():
    # Three words: resamples without the last sentence have no four in a row, and score 0.
    references = ["a b c"] * 7 + ["a b c d e"]
    [bleu, ter] = paired_bootstrap(
        {"own": references}, references, language="en", metrics=("BLEU", "TER")
    )
    assert bleu.score == pytest.approx(100.0) and bleu.mean < 99.0
    low, high = bleu.interval
    assert low < bleu.score and high == pytest.approx(100.0)
    assert ter.interval == (0.0, 0.0)
    [bad] = paired_bootstrap(
        {"long": ["x y z q r s"] * 4 + ["a"] * 4},
        ["a"] * 8,
        language="en",
        metrics=("TER",),
    )
    assert bad.score > 100 and bad.interval[1] == bad.score + bad.half_width


def test_the_same_score_by_other_words_is_no_difference():
    references = ["one two three four five", "six seven eight nine ten"] * 5
    systems = {
        "first": [text.replace("three", "x") for text in references],
        "second": [text.replace("three", "y") for text in references],
    }
    for one in paired_bootstrap(systems, references, language="en")[3:]:
        assert one.p_value == 1.0


def test_one_sentence_has_neither_an_interval_nor_a_difference():
    systems = {"first": ["one two three four"], "second": ["one two three five"]}
    found = paired_bootstrap(systems, ["one two three four"], language="en")
    assert [one.half_width for one in found] == [None] * 6
    assert [one.p_value for one in found] == [None] * 3 + [1.0] * 3
    assert found[0].interval == (found[0].score, found[0].score)


def test_a_clear_difference_is_clear_and_none_is_none(estimates):
    for metric in ("BLEU", "chrF2", "TER"):
        assert found("better", metric, estimates).p_value == 1 / (SAMPLES + 1)
        assert found("same", metric, estimates).p_value == 1
        assert found("worse", metric, estimates).p_value is None
    worse, better = (found(name, "TER", estimates) for name in ("worse", "better"))
    assert better.score < worse.score


def test_repeats_whatever_the_environment_says(estimates, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    systems = {"worse": WORSE, "better": BETTER}
    again = paired_bootstrap(systems, REFERENCES, language="en")
    assert again == tuple(e for e in estimates if e.system != "same")
    assert os.environ["SACREBLEU_SEED"] == "7"
    other = paired_bootstrap(systems, REFERENCES, language="en", seed=8)
    assert other != again and "seed:8" in other[0].signature


def test_what_cannot_be_tested():
    def test(systems, **options):
        paired_bootstrap(systems, ["a b"], language="en", **options)

    with pytest.raises(ValueError, match="systems is empty"):
        test({})
    with pytest.raises(ValueError, match="equally many .* got 2 and 1"):
        test({"x": ["a", "b"]})
    with pytest.raises(ValueError, match="metrics must be some of .* got .'bleu'"):
        test({"x": ["a"]}, metrics=("bleu",))
    for wrong in ({"samples": 0}, {"seed": 0}):
        with pytest.raises(ValueError, match="samples and seed must be at least 1"):
            test({"x": ["a"]}, **wrong)


LENGTHS = [9, 2, 5, 2, 7, 3, 30]
TEXTS = [f"here are some words number {n} ." for n in range(len(LENGTHS))]
# Sources of up to 5 tokens are translated well.
TRANSLATED = [
    text if length <= 5 else text.replace("some words", "words")
    for text, length in zip(TEXTS, LENGTHS, strict=True)
]


def bins(edges, systems=None):
    return bleu_by_length(
        systems or {"run": TRANSLATED},
        TEXTS,
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
        [TRANSLATED[i] for i in chosen], [TEXTS[i] for i in chosen], language="en"
    )
    [estimate] = middle.bleu
    assert estimate.score == pytest.approx(expected.score)
    assert low.bleu[0].score == pytest.approx(100) and high.bleu[0].score < 90
    assert "bs:20" in estimate.signature


def test_one_bin_and_bins_without_sentences():
    [every] = bins(())
    whole = bleu(TRANSLATED, TEXTS, language="en")
    assert every.bleu[0].score == pytest.approx(whole.score)
    assert [b.name for b in bins((1, 4, 10, 20, 40))] == ["2–3", "5–9", "30"]


@pytest.mark.parametrize(
    ("lengths", "number", "edges"),
    [
        (range(1, 11), 2, (5,)),
        (range(1, 11), 5, (2, 4, 6, 8)),
        ([1, 1, 1, 1, 2, 9], 3, (1,)),
        ([3], 5, ()),
        ([5, 1], 10**12, (1,)),
    ],
)
def test_equal_counts(lengths, number, edges):
    assert equal_count_edges(list(lengths), number) == edges


def test_what_cannot_be_binned():
    with pytest.raises(ValueError, match="edges must increase, got 5, 5"):
        bins((5, 5))
    with pytest.raises(ValueError, match="lengths must be 7, one a reference, got 1"):
        bleu_by_length({"x": TRANSLATED}, TEXTS, [1], edges=(), language="en")
    with pytest.raises(ValueError, match="x must be 7, one a reference, got 1"):
        bins((), {"x": ["a"]})
    for lengths, number in (([], 2), ([1], 0)):
        with pytest.raises(ValueError, match="lengths must not be empty and number"):
            equal_count_edges(lengths, number)
