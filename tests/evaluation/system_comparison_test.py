"""Several systems on the same sentences."""

import dataclasses
import json
import statistics

import pytest

from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.data.pairs import Pair
from attention_jax.decoding.translate import NOTHING
from attention_jax.evaluation import comparison_report
from attention_jax.evaluation.evaluate import Evaluation, write_translations
from attention_jax.evaluation.quality import translation_quality
from attention_jax.evaluation.system_comparison import System, compare_systems
from attention_jax.training.run_directory import config_to_dict, flatten

REFERENCES = tuple(f"here are {n} more words to say ." for n in range(12))
BAD = tuple(text.replace("more words", "words more") for text in REFERENCES)
FACTS = {"split_hash": "0" * 64, "device": "cpu x1"}


def system(name, share, *, decoding=None, **fields):
    """A system that translates so many of the sentences badly."""
    config = flatten(config_to_dict(ExperimentConfig())) | fields
    number = round(share * len(REFERENCES))
    texts = BAD[:number] + REFERENCES[number:]
    translations = tuple(
        NOTHING._replace(text=text, source_tokens=("x",) * (1 + index))
        for index, text in enumerate(texts)
    )
    metrics = translation_quality(texts, REFERENCES, language="en")
    evaluation = Evaluation(
        metrics=metrics,
        alignment=None,
        seconds=2.0,
        translations=translations,
        references=REFERENCES,
        decoding=decoding or DecodingConfig(),
    )
    return System(name, evaluation, FACTS, config)


def score(one, name):
    [found] = [m.score for m in one.evaluation.metrics if m.name == name]
    return found


@pytest.fixture(scope="module")
def systems():
    return [
        system("none", 1.0, **{"model.attention": "none"}),
        system("dot0", 0.5, seed=0),
        system("dot1", 0.25, seed=1),
        system("again", 0.75, seed=1),
    ]


@pytest.fixture(scope="module")
def comparison(systems):
    return compare_systems(systems, baseline=True, edges=(6,))


def test_seeds_are_averaged_one_run_a_seed(comparison, systems):
    [group] = comparison.seeds
    assert (group.names, group.seeds) == (("dot0", "dot1"), (0, 1))
    for name in ("BLEU", "TER", "exact match"):
        both = [score(one, name) for one in systems[1:3]]
        assert group.mean[name] == pytest.approx(statistics.fmean(both))
        assert group.deviation[name] == pytest.approx(statistics.stdev(both))
    assert comparison.fields == ("seed", "model.attention")


def test_the_baseline_is_what_all_are_tested_against(comparison):
    assert comparison.baseline == "none"
    tested = {e.system for e in comparison.estimates if e.p_value is not None}
    assert tested == {"dot0", "dot1", "again"}
    assert len(comparison.estimates) == 4 * 3


def test_without_a_baseline_nothing_is_tested(systems):
    comparison = compare_systems(systems)
    assert comparison.baseline is None and comparison.estimates == ()
    titles = [t.title for t in comparison_report.tables(comparison, title="", unit="")]
    assert len(titles) == 2 and not any("bootstrap" in title for title in titles)


def test_lengths_are_those_of_the_sources(comparison, systems):
    short, long = comparison.by_length
    assert (short.name, long.name) == ("1–6", "7–12")
    assert [found.system for found in short.bleu] == [s.name for s in systems]
    # The first half of what dot0 was given is bad, and no more.
    assert short.bleu[1].score < long.bleu[1].score == pytest.approx(100)


def test_the_tables_have_every_figure(comparison, systems):
    scores, differences, lengths = comparison_report.tables(
        comparison, title="4 runs", unit="words"
    )
    assert scores.head[:3] == ["run", "seed", "attention"]
    assert scores.head[-2:] == ["TER ↓", "sentences/s"]
    assert scores.rows[1][:3] == ["dot0", "0", "after"]
    assert f"{score(systems[1], 'BLEU'):.2f}" in scores.rows[1]
    [group] = comparison.seeds
    assert scores.rows[4][:3] == ["mean of 2", "–", "after"]
    mean, deviation = group.mean["BLEU"], group.deviation["BLEU"]
    assert f"{mean:.2f} ± {deviation:.2f}" in scores.rows[4]
    assert any("tok:13a" in note for note in scores.notes)
    assert "search: greedy" in scores.notes

    assert "against none" in differences.title and "seed 12345" in differences.title
    [row] = [r for r in differences.rows if r[:2] == ["dot0", "TER ↓"]]
    change = score(systems[1], "TER") - score(systems[0], "TER")
    assert row[4] == f"{change:.2f}" and change < 0
    assert row[5] == "0.0010"
    assert differences.rows[0][4:] == ["–", "–"]

    assert lengths.head[:3] == ["source words", "sentences", "BLEU none"]
    assert lengths.rows[0][:2] == ["1–6", "6"]


def test_what_is_not_common_names_its_runs():
    beam = DecodingConfig(search="beam", beam_size=3, length_penalty="gnmt")
    comparison = compare_systems([system("a", 0.5), system("b", 0.5, decoding=beam)])
    [table, _] = comparison_report.tables(comparison, title="", unit="words")
    assert "search: greedy (a)" in table.notes
    assert "search: beam of 3, length penalty gnmt^1 (b)" in table.notes


def test_json_of_one_and_of_several(comparison, systems):
    read = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert [one["name"] for one in read["systems"]] == [s.name for s in systems]
    assert read["systems"][0]["differs"] == {"seed": 0, "model.attention": "none"}
    assert read["systems"][1]["decoding"]["search"] == "greedy"
    assert read["baseline"] == "none" and read["seeds"][0]["seeds"] == [0, 1]
    assert read["estimates"][0]["p_value"] is None
    [ter] = [m for m in read["systems"][0]["metrics"] if m["name"] == "TER"]
    assert ter["higher_is_better"] is False

    one = compare_systems(systems[:1]).to_dict()
    assert {"metrics", "split_hash", "by_length"} <= set(one)
    assert sum(b["sentences"] for b in one["by_length"]) == 12


def test_translations_as_columns(systems, tmp_path):
    pairs = [Pair(f"source\t{n} ", "") for n in range(12)]
    path = tmp_path / "t.tsv"
    write_translations(path, pairs, [system.evaluation for system in systems[:2]])
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) == 12
    assert lines[3].split("\t") == ["source 3", REFERENCES[3], BAD[3], BAD[3]]


def test_what_does_not_compare(systems):
    with pytest.raises(ValueError, match="systems is empty"):
        compare_systems([])
    other = dataclasses.replace(
        systems[1].evaluation, references=tuple(t.upper() for t in REFERENCES)
    )
    with pytest.raises(ValueError, match="none and dot0 are measured against diff"):
        compare_systems([systems[0], systems[1]._replace(evaluation=other)])
