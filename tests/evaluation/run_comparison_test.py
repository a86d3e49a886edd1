"""Reading run directories side by side, damaged and unfinished ones too."""

import dataclasses
import json

import pytest

from attention_jax.errors import UnknownNameError
from attention_jax.evaluation.config_variation import (
    brief_fields,
    brief_values,
    varying_fields,
)
from attention_jax.evaluation.run_comparison import (
    METRICS,
    brief_paths,
    compare_runs,
    sort_runs,
)
from attention_jax.evaluation.run_summary import RunSummary
from tests.evaluation.made_runs import ROWS, dev_row, make_run, train_row


def test_the_figures_are_those_of_the_rows(tmp_path):
    [run] = compare_runs([make_run(tmp_path / "run")]).runs
    assert (run.name, run.parameters, run.step, run.minutes) == ("run", 1234, 40, 4.0)
    assert (run.dev_loss, run.dev_bleu, run.last_dev_bleu) == (2.0, 30.0, 20.0)
    assert run.exact_match == 2.0
    # 100 and 300: as many tokens each. The lines in which something compiled are left out.
    assert run.tokens_per_second == pytest.approx(150.0)
    assert run.finished and run.notes == ()


def test_with_nothing_but_compiling_lines_these_count(tmp_path):
    rows = [train_row(20, speed=50.0, compilations=3)]
    [run] = compare_runs([make_run(tmp_path / "run", rows)]).runs
    assert run.tokens_per_second == 50.0
    assert (run.dev_loss, run.dev_bleu, run.last_dev_bleu) == (None, None, None)
    assert run.notes == ("unfinished: 20 of 40 steps", "no dev row yet")


def test_a_run_that_has_only_begun_has_a_row(tmp_path):
    [run] = compare_runs([make_run(tmp_path / "run", [])]).runs
    assert (run.step, run.minutes, run.tokens_per_second) == (0, None, None)
    assert run.notes == ("unfinished: 0 of 40 steps", "no dev row yet")


def test_a_loss_that_is_no_number_is_not_the_lowest(tmp_path):
    rows = [dev_row(20, loss=float("nan")), dev_row(40, loss=7.0)]
    [run] = compare_runs([make_run(tmp_path / "run", rows)]).runs
    assert run.dev_loss == 7.0


@pytest.mark.parametrize(
    ("fields", "note", "finished"),
    [
        ({"training__max_minutes": 4.0}, ("stopped by max_minutes: 40 of 99",), True),
        ({"training__max_minutes": 4.1}, ("unfinished: 40 of 99",), False),
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


def test_damaged_lines_are_told_and_a_cut_last_line_is_not(tmp_path):
    path = make_run(tmp_path / "run") / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:20]
    lines[3] = json.dumps({"event": "train", "step": 30})
    lines += ["[1]", "\x00\x00", '{"event": "dev", "st']
    path.write_text("\n".join(lines))
    [run] = compare_runs([path.parent]).runs
    assert run.notes == ("metrics.jsonl: damaged, line 2, 4, 7, …",)
    assert len(run.rows) == len(ROWS) - 2
    assert run.last_dev_bleu == 20.0


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        json.dumps(dev_row(40) | {"loss": 10**400}),
        json.dumps(train_row(40) | {"tokens_per_second": 10**400}),
        json.dumps(train_row(40) | {"step": float("nan")}),
        json.dumps(train_row(40) | {"cross_entropy": "x"}),
        json.dumps(train_row(40) | {"cross_entropy": None}),
    ],
)
def test_a_line_of_numbers_that_are_none_is_damaged(line, tmp_path):
    path = make_run(tmp_path / "run") / "metrics.jsonl"
    path.write_text(path.read_text() + line + "\n")
    [run] = compare_runs([path.parent]).runs
    assert run.notes == (f"metrics.jsonl: damaged, line {len(ROWS) + 1}",)


def test_damaged_files_are_told(tmp_path):
    path = make_run(tmp_path / "run")
    (path / "config.json").write_text('{"seed": 1,')
    (path / "record.json").write_text("[]")
    whole = make_run(tmp_path / "whole", model__score="additive")
    comparison = compare_runs([path, whole])
    run = comparison.runs[0]
    assert run.config == {} and run.parameters is None
    assert run.notes[0].startswith("config.json, line 1: not JSON")
    assert run.notes[1] == ("record.json: damaged, not the record of a run's sessions")
    # What is not known does not differ.
    assert comparison.fields == ()


def test_only_differing_fields_are_named(tmp_path):
    one = make_run(tmp_path / "a", model__score="dot", data__seed=0)
    two = make_run(tmp_path / "b", model__score="additive", data__seed=5)
    fields = compare_runs([one, two]).fields
    assert fields == ("data.seed", "model.score")
    assert brief_fields(fields) == {"data.seed": "data.seed", "model.score": "score"}


def test_a_field_that_an_older_run_lacks_has_its_default(tmp_path):
    one, two = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    config = json.loads((two / "config.json").read_text())
    del config["training"]["max_minutes"]
    (two / "config.json").write_text(json.dumps(config))
    assert compare_runs([one, two]).fields == ()


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
        ("results.json", "results.json is a file, not a run"),
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
    assert (group.seeds, group.left_out) == ((0, 1), 2)
    assert group.mean["dev_bleu"] == 12.0
    assert group.deviation["dev_bleu"] == pytest.approx(8**0.5)
    # Neither of them has a train row.
    assert "tokens_per_second" not in group.mean


def test_sorted_by_a_metric_the_best_is_first(tmp_path):
    for name, loss, bleu in (("a", 2.0, 5.0), ("b", 1.0, 4.0), ("c", 3.0, 6.0)):
        make_run(tmp_path / name, [dev_row(40, loss=loss, bleu=bleu)])
    make_run(tmp_path / "d", [])
    comparison = compare_runs([tmp_path])

    def order(metric):
        return "".join(run.name for run in sort_runs(comparison, metric).runs)

    assert (order("dev_loss"), order("dev_bleu")) == ("bacd", "cabd")
    with pytest.raises(UnknownNameError, match="Did you mean 'dev_bleu'"):
        sort_runs(comparison, "bleu")
    assert {*METRICS} <= {field.name for field in dataclasses.fields(RunSummary)}
