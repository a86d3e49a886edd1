"""Runs side by side: on dev from their directories, and on the same test sentences."""

import dataclasses
import json
import statistics

import pytest

from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.data.pairs import Pair
from attention_jax.decoding.translate import NOTHING
from attention_jax.errors import UnknownNameError
from attention_jax.evaluation.compare import (
    System,
    brief_fields,
    brief_paths,
    brief_values,
    compare_runs,
    compare_systems,
    varying_fields,
)
from attention_jax.evaluation.evaluate import Evaluation, write_translations
from attention_jax.evaluation.quality import translation_quality
from attention_jax.evaluation.tables import system_tables
from attention_jax.training.run_directory import flatten
from tests.evaluation.made_runs import ROWS, dev_row, make_run, train_row


def test_the_figures_are_those_of_the_rows(tmp_path):
    [run] = compare_runs([make_run(tmp_path / "run")]).runs
    # 100 and 300: as many tokens each. The lines in which something compiled are left out.
    assert run.name == "run" and run.figures == {
        "parameters": 1234,
        "step": 40,
        "minutes": 4.0,
        "dev_loss": 2.0,
        "dev_bleu": 30.0,
        "last_dev_bleu": 20.0,
        "exact_match": 2.0,
        "tokens_per_second": pytest.approx(150.0),
    }
    assert run.finished and run.notes == ()
    # A NaN is not the lowest loss; with nothing but compiling lines these count.
    rows = [train_row(20, speed=50.0, compilations=3), dev_row(20, loss=float("nan"))]
    [run] = compare_runs(
        [make_run(tmp_path / "b", [*rows, dev_row(30, loss=7.0)])]
    ).runs
    assert (run.figures["tokens_per_second"], run.figures["dev_loss"]) == (50.0, 7.0)
    [run] = compare_runs([make_run(tmp_path / "c", [])]).runs
    assert (
        run.figures["step"],
        run.figures["minutes"],
        run.figures["tokens_per_second"],
    ) == (0, None, None)
    assert run.notes == ("unfinished: 0 of 40 steps", "no dev row yet")


@pytest.mark.parametrize(
    ("fields", "note", "finished"),
    [
        ({"training__max_minutes": 4.0}, ("stopped by max_minutes: 40 of 99",), True),
        (
            {"training__early_stopping_patience": 1},
            ("stopped early: 40 of 99",),
            True,
        ),
        ({"training__early_stopping_patience": 2}, ("unfinished: 40 of 99",), False),
    ],
)
def test_why_a_run_ended_before_its_last_step(tmp_path, fields, note, finished):
    [run] = compare_runs([make_run(tmp_path / "run", steps=99, **fields)]).runs
    assert run.notes == tuple(f"{one} steps" for one in note)
    assert run.finished is finished


def test_damaged_lines_are_noted_and_a_cut_last_line_is_not(tmp_path):
    path = make_run(tmp_path / "run") / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:20]
    lines[3] = json.dumps({"event": "train", "step": 30})
    lines += ["[1]", "\x00\x00", '{"event": "dev", "st']
    path.write_text("\n".join(lines))
    [run] = compare_runs([path.parent]).runs
    assert run.notes == ("metrics.jsonl: damaged, line 2, 4, 7, …",)
    assert len(run.rows) == len(ROWS) - 2
    assert run.figures["last_dev_bleu"] == 20.0


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        json.dumps(dev_row(40) | {"loss": 10**400}),
        json.dumps(train_row(40) | {"step": float("nan")}),
        json.dumps(train_row(40) | {"cross_entropy": None}),
    ],
)
def test_a_line_of_values_that_are_not_numbers_is_damaged(line, tmp_path):
    path = make_run(tmp_path / "run") / "metrics.jsonl"
    path.write_text(path.read_text() + line + "\n")
    [run] = compare_runs([path.parent]).runs
    assert run.notes == (f"metrics.jsonl: damaged, line {len(ROWS) + 1}",)


def test_damaged_files_are_noted(tmp_path):
    path = make_run(tmp_path / "run")
    (path / "config.json").write_text('{"seed": 1,')
    (path / "record.json").write_text("[]")
    whole = make_run(tmp_path / "whole", model__score="additive")
    comparison = compare_runs([path, whole])
    run = comparison.runs[0]
    assert run.config == {} and run.figures["parameters"] is None
    assert run.notes[0].startswith("config.json, line 1: not JSON")
    assert run.notes[1] == ("record.json: damaged, not the record of a run's sessions")
    # What is not known does not differ.
    assert comparison.fields == ()


def test_only_differing_fields_are_named(tmp_path):
    one = make_run(tmp_path / "a", model__score="dot", data__seed=0)
    two = make_run(tmp_path / "b", model__score="additive", data__seed=5)
    config = json.loads((two / "config.json").read_text())
    # What an older run lacks has its default.
    del config["training"]["max_minutes"]
    (two / "config.json").write_text(json.dumps(config))
    fields = compare_runs([one, two]).fields
    assert fields == ("data.seed", "model.score")
    assert brief_fields(fields) == {"data.seed": "data.seed", "model.score": "score"}


def test_values_are_brief_where_that_tells_them_apart():
    assert brief_values(["/a/mine.py:f", "dot", 3]) == ["mine.py:f", "dot", "3"]
    assert brief_values(["/a/m.py:f", "/b/m.py:f"]) == ["/a/m.py:f", "/b/m.py:f"]
    assert brief_values(["/a/m.py:f", "/a/m.py:f"]) == ["m.py:f", "m.py:f"]
    assert varying_fields([{"a": 1, "b": 2}, {"a": 1, "b": 3}]) == ["b"]


def test_names_are_as_long_as_they_must_be(tmp_path):
    paths = [tmp_path / name for name in ("x/a", "y/a", "y/b", "z/y/b")]
    assert brief_paths(paths) == ["x/a", "y/a", f"{tmp_path.name}/y/b", "z/y/b"]
    with pytest.raises(ValueError, match=r"the run .*a is given 2 times"):
        brief_paths([tmp_path / "a", tmp_path / "b" / ".." / "a"])


def test_a_directory_of_runs_stands_for_them(tmp_path):
    make_run(tmp_path / "b")
    make_run(tmp_path / "a")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    assert [run.name for run in compare_runs([tmp_path]).runs] == ["a", "b"]
    for path, message in (
        ("empty", "empty holds no run"),
        ("gone", "there is no run directory"),
    ):
        with pytest.raises(OSError, match=message):
            compare_runs([tmp_path / path])
    with pytest.raises(ValueError, match="paths is empty"):
        compare_runs([])


def test_seeds_are_averaged_over_finished_runs(tmp_path):
    for seed, bleu in ((0, 10.0), (1, 14.0), (3, 99.0)):
        rows = [dev_row(40 if seed < 3 else 20, bleu=bleu)]
        make_run(tmp_path / f"seed{seed}", rows, seed=seed)
    make_run(tmp_path / "seed1again", seed=1)
    make_run(tmp_path / "other", seed=2, model__score="additive")
    [group] = compare_runs([tmp_path]).groups
    assert group.names == ("seed0", "seed1")
    assert group.seeds == (0, 1)
    assert group.mean["dev_bleu"] == 12.0
    assert group.deviation["dev_bleu"] == pytest.approx(8**0.5)
    # Neither of them has a train row.
    assert "tokens_per_second" not in group.mean


def test_sorted_by_a_metric_the_best_is_first(tmp_path):
    for name, loss, bleu in (("a", 2.0, 5.0), ("b", 1.0, 4.0), ("c", 3.0, 6.0)):
        make_run(tmp_path / name, [dev_row(40, loss=loss, bleu=bleu)])
    make_run(tmp_path / "d", [])

    def order(metric):
        return "".join(run.name for run in compare_runs([tmp_path], metric=metric).runs)

    assert (order("dev_loss"), order("dev_bleu")) == ("bacd", "cabd")
    with pytest.raises(UnknownNameError, match="Did you mean 'dev_bleu'"):
        compare_runs([tmp_path], metric="bleu")


REFERENCES = tuple(f"here are {n} more words to say ." for n in range(12))
BAD = tuple(text.replace("more words", "words more") for text in REFERENCES)
FACTS = {"split_hash": "0" * 64, "device": "cpu x1"}


def system(name, share, *, decoding=None, **fields):
    """A system that translates this share of the sentences badly."""
    config = flatten(ExperimentConfig()) | fields
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


def test_the_tables_have_every_figure(comparison, systems):
    scores, differences, lengths = system_tables(
        comparison, title="4 runs", unit="words"
    )
    assert scores.head[:3] == ["run", "seed", "attention"]
    assert scores.head[-2:] == ["TER ↓", "sentences/s"]
    assert scores.rows[1][:3] == ["dot0", "0", "after"]
    assert f"{score(systems[1], 'BLEU'):.2f}" in scores.rows[1]
    [group] = comparison.groups
    assert group.mean["BLEU"] == pytest.approx(
        statistics.fmean(score(one, "BLEU") for one in systems[1:3])
    )
    assert scores.rows[4][:3] == ["mean of 2", "–", "after"]
    mean, deviation = group.mean["BLEU"], group.deviation["BLEU"]
    assert f"{mean:.2f} ± {deviation:.2f}" in scores.rows[4]
    assert any("tok:13a" in note for note in scores.notes)
    assert "search: greedy" in scores.notes

    tested = {e.system for e in comparison.estimates if e.p_value is not None}
    assert tested == {"dot0", "dot1", "again"}
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
    [table, _] = system_tables(comparison, title="", unit="words")
    assert "search: greedy (a)" in table.notes
    assert "search: beam, beam_size 3, length_penalty gnmt (b)" in table.notes


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
    with pytest.raises(ValueError, match="systems must have different names"):
        compare_systems([])
    other = dataclasses.replace(
        systems[1].evaluation, references=tuple(t.upper() for t in REFERENCES)
    )
    with pytest.raises(ValueError, match="none and dot0 are measured against diff"):
        compare_systems([systems[0], systems[1]._replace(evaluation=other)])
