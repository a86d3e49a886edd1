"""What a report shows is what was measured."""

import dataclasses
import itertools
import math

import pytest

from attention_jax.evaluation import evaluate
from attention_jax.evaluation.html_report import collect
from attention_jax.evaluation.html_report.collection import _thinned
from attention_jax.evaluation.run_summary import summarize
from attention_jax.run import load_run
from attention_jax.training.run_directory import RunDirectory
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    directory = RunDirectory(tiny_run(tmp_path_factory))
    run = load_run(directory.path)
    pairs = evaluate.load_split(directory, "test", max_sentences=12)
    evaluation = evaluate.evaluate(run, pairs)
    facts = evaluate.provenance(directory, run, split="test", checkpoint="best")
    summary = summarize(directory.path, name="tiny")

    def collect_of(pairs):
        return collect(run, summary, pairs, evaluation, facts)

    return collect_of, evaluation, pairs


def test_each_sentence_has_its_figures(collected):
    collect_of, evaluation, pairs = collected
    data = collect_of(pairs)
    assert len(data.sentences) == 12
    for shown, found, pair, statistics in zip(
        data.sentences,
        evaluation.translations,
        pairs,
        evaluation.statistics,
        strict=True,
    ):
        assert (shown.source, shown.reference) == (pair.source, pair.target)
        assert shown.translation == found.text
        assert shown.length == len(found.source_tokens)
        assert shown.entropy == statistics.entropy
        # The geometric mean over the words and the end.
        mean = math.exp(found.log_prob / (len(found.target_tokens) + 1))
        assert shown.confidence == pytest.approx(mean, abs=1e-4)


def test_statistics_and_lengths_are_the_evaluation_s(collected):
    collect_of, evaluation, pairs = collected
    data = collect_of(pairs)
    mean = dataclasses.asdict(evaluation.attention)
    assert {s.name.replace(" ", "_"): s.value for s in data.statistics} == mean
    assert sum(row.sentences for row in data.lengths) == 12
    assert data.scores[0].value == f"{evaluation.metrics[0].score:.2f}"


def test_characters_that_the_page_has_no_font_for_are_named(collected):
    collect_of, _, pairs = collected
    foreign = [
        dataclasses.replace(pairs[0], source="안녕하세요 我🙂\ufe0f"),
        *pairs[1:],
    ]
    [note] = [note for note in collect_of(foreign).notes if "font" in note]
    assert "no font for 녕 세 안 and 2 more" in note
    assert not any("font" in note for note in collect_of(pairs).notes)


@pytest.mark.parametrize("number", [0, 1, 999, 1_000, 1_001, 2_000, 2_501])
def test_of_many_rows_evenly_many_are_drawn_and_the_last(number):
    rows = [{"step": step} for step in range(number)]
    thinned = [row["step"] for row in _thinned(rows)]
    assert len(thinned) <= 1_000 and thinned[-1:] == [number - 1] * bool(number)
    assert number > 1_000 or len(thinned) == number
    gaps = {b - a for a, b in itertools.pairwise(thinned)}
    assert len(gaps) <= 1
