import dataclasses
import itertools

import numpy as np
import pytest

from attention_jax.data.pairs import Link
from attention_jax.evaluation import evaluate, examples
from attention_jax.evaluation.examples import Candidate, crossings, pick_examples
from attention_jax.run import load_run
from attention_jax.training.run_directory import RunDirectory
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    workdir = tiny_run(tmp_path_factory)
    run = load_run(workdir)
    pairs = evaluate.load_split(RunDirectory(workdir), "test")
    return run, pairs, evaluate.evaluate(run, pairs)


def test_crossings_against_every_two_links():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        starts = rng.integers(0, 20, (6, 2))
        links = [Link(s, s + 3, t, t + 3) for s, t in starts.tolist()]
        # Of two stretches of three characters, one is before the other 3 or more apart.
        expected = sum(
            (s - other_s) * (t - other_t) < 0
            and min(abs(s - other_s), abs(t - other_t)) >= 3
            for (s, t), (other_s, other_t) in itertools.combinations(starts.tolist(), 2)
        )
        assert crossings(links) == expected
        seen.add(expected)
    assert len(seen) > 3
    assert crossings([]) == 0


def reversal(index, words):
    last = len(words) - 1
    links = [Link(i, i + 1, last - i, last - i + 1) for i in range(len(words))]
    return Candidate(index, links, words)


def test_the_most_reordered_comes_first_and_the_next_is_different():
    candidates = [
        reversal(7, ["May", "5", ",", "2024"]),  # 4 links, 6 crossings
        reversal(8, ["Tuesday", ",", "May", "12", ",", "1999"]),  # 6, 15
        reversal(9, ["Friday", ",", "June", "13", ",", "2001"]),  # 6, 15
        reversal(3, ["kilometers", "per", "hour"]),  # 3, 3
        reversal(1, [",", "."]),  # no words
    ]
    # Numbers read 0 or 00 or 0000, so 9 has four kinds of words, two of them new after 8:
    # (6 + 15) x 2/4, against (3 + 3) x 3/3 of the third and (4 + 6) x 1/3 of the first.
    assert pick_examples(candidates, 1) == [8]
    assert pick_examples(candidates, 2) == [8, 9]
    assert pick_examples(candidates, 3) == [8, 9, 3]
    assert pick_examples(candidates, 99) == [8, 9, 3, 7]
    assert pick_examples([], 2) == []


def test_novelty_outweighs_a_little_more_reordering():
    candidates = [
        reversal(0, ["a", "b", "c", "d"]),
        reversal(1, ["a", "b", "c", "d"]),
        reversal(2, ["e", "f"]),
    ]
    assert pick_examples(candidates, 2) == [0, 2]


def test_translations_are_shown_with_a_mark(evaluated):
    run, pairs, evaluation = evaluated
    pairs = [pairs[0], dataclasses.replace(pairs[1], target="quite different")]
    two = dataclasses.replace(evaluation, translations=evaluation.translations[:2])
    texts = [translation.text for translation in two.translations]
    assert examples.translation_lines(run, pairs, two, number=8) == [
        f"  {pairs[0].source}",
        f"    ✓ {texts[0]}",
        f"  {pairs[1].source}",
        f"    ✗ {texts[1]}",
        "    = quite different",
    ]
    assert len(examples.translation_lines(run, pairs, two, number=1)) == 2


def labels(axes):
    return (
        tuple(label.get_text() for label in axes.get_xticklabels()),
        tuple(label.get_text() for label in axes.get_yticklabels()),
    )


def test_exactly_translated_phrases_are_drawn_with_their_links(evaluated, tmp_path):
    run, pairs, evaluation = evaluated
    path = tmp_path / "attention.png"
    figure = examples.draw_examples(run, pairs, evaluation, number=3, path=path)
    assert path.stat().st_size > 1000
    drawn = [labels(axes) for axes in figure.axes[:3]]
    exact = {
        (translation.source_tokens, translation.target_tokens)
        for pair, translation in zip(pairs, evaluation.translations, strict=True)
        if evaluate.is_exact(run, pair, translation)
    }
    assert set(drawn) <= exact and len(set(drawn)) == 3
    # The longest reversal crosses most; a lone cell's outline has four sides.
    assert len(drawn[0][0]) == 4
    assert [len(c.get_paths()) for c in figure.axes[0].collections] == [16, 16]


def test_without_an_exact_translation_the_first_ones_are_drawn(evaluated, tmp_path):
    run, pairs, evaluation = evaluated
    wrong = [dataclasses.replace(pair, target="else") for pair in pairs]
    path = tmp_path / "attention.png"
    figure = examples.draw_examples(run, wrong, evaluation, number=2, path=path)
    first = evaluation.translations[0]
    assert labels(figure.axes[0]) == (first.source_tokens, first.target_tokens)
    assert not any(c.get_paths() for c in figure.axes[0].collections)


def test_nothing_to_draw(evaluated, tmp_path):
    run, pairs, evaluation = evaluated
    empty = [
        translation._replace(target_tokens=())
        for translation in evaluation.translations
    ]
    nothing = dataclasses.replace(evaluation, translations=tuple(empty))
    with pytest.raises(ValueError, match="no phrase short enough"):
        examples.draw_examples(run, pairs, nothing, number=2, path=tmp_path / "a.png")
