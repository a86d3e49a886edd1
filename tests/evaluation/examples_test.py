import dataclasses

import pytest

from attention_jax.evaluation import evaluate, examples
from attention_jax.run import load_run
from attention_jax.training.run_directory import RunDirectory
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    workdir = tiny_run(tmp_path_factory)
    run = load_run(workdir)
    pairs = evaluate.load_split(RunDirectory(workdir), "test")
    return run, pairs, evaluate.evaluate(run, pairs)


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
    # The longest reversal crosses most.
    assert len(drawn[0][0]) == 4
    assert [len(c.get_paths()) for c in figure.axes[0].collections] == [4, 4]


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
    with pytest.raises(ValueError, match="no sentence short enough"):
        examples.draw_examples(run, pairs, nothing, number=2, path=tmp_path / "a.png")
