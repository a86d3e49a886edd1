"""`python -m experiments.compare_runs`: its table, files and mistakes."""

import json

import pytest

from attention_jax.training.run_directory import RunDirectory
from experiments import compare_runs
from tests.evaluation.made_runs import dev_row, make_run, train_row
from tests.experiments.programs import runner


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with four runs, of which two differ in the seed alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def f(query, keys): return keys @ query")
    make_run(tmp_path / "runs/dot", model__score="dot")
    make_run(tmp_path / "runs/mine", model__score="mine.py:f", seed=1)
    rows = [train_row(20), dev_row(40, bleu=40.0, exact_match=4.0)]
    make_run(tmp_path / "runs/seed5", rows, model__score="dot", seed=5)
    make_run(tmp_path / "runs/begun", [], model__score="cosine")
    return tmp_path


run = runner(compare_runs, positional=compare_runs.POSITIONAL)


def test_a_row_a_run_and_one_for_the_seeds(folder, capsys):
    assert run("runs/dot", "runs/mine", "runs/seed5", "runs/begun") == 0
    out, err = capsys.readouterr()
    assert err == ""
    title, head, *lines = out.splitlines()
    assert title == "4 runs, on dev"
    assert " ".join(head.split()) == (
        "run seed score parameters steps minutes dev loss BLEU last BLEU exact % "
        "tokens/s notes"
    )
    dot = "dot 0 dot 1,234 40 4.0 2.0000 30.00 20.00 2.0 150"
    assert " ".join(lines[0].split()) == dot
    assert lines[1].split()[:3] == ["mine", "1", "mine.py:f"]
    begun = (
        "begun 0 cosine 1,234 0 – – – – – – unfinished: 0 of 40 steps; no dev row yet"
    )
    assert " ".join(lines[3].split()) == begun
    mean = " ".join(lines[4].split())
    # 30 and 40, 20 and 40; 2 and 1 of loss.
    assert mean.startswith(
        "mean of 2 – dot 1,234 ± 0 40 ± 0 4.0 ± 0.0 1.5000 ± 0.7071 "
    )
    assert "35.00 ± 7.07 30.00 ± 14.14" in mean and mean.endswith("seeds 0, 5")
    assert lines[5].startswith("± is the sample standard deviation")
    assert len(lines) == 6


def test_sorted_drawn_and_written(folder, capsys):
    arguments = ("--metric=dev_bleu", "--figure=c.png", "--output=o.json")
    assert run("runs", *arguments) == 0
    out = capsys.readouterr().out
    names = [line.split()[0] for line in out.splitlines()[2:6]]
    assert names == ["seed5", "dot", "mine", "begun"]
    assert out.endswith("wrote c.png\nwrote o.json\n")
    assert (folder / "c.png").stat().st_size > 10_000
    written = json.loads((folder / "o.json").read_text())
    assert written["fields"] == ["seed", "model.score"]
    assert [one["name"] for one in written["runs"]] == names
    assert written["runs"][0]["dev_bleu"] == 40.0
    assert written["runs"][0]["config"]["model.score"] == "dot"
    assert written["groups"][0]["mean"]["dev_bleu"] == 35.0


def test_other_splits_are_noted(folder, capsys):
    for name, split in (("dot", "a" * 64), ("mine", "b" * 64), ("seed5", "a" * 64)):
        facts = {"parameters": 1234, "split_hash": split}
        RunDirectory(folder / "runs" / name).update_record({"sessions": [facts]})
    assert run("runs/dot", "runs/seed5", "runs/begun") == 0
    assert "another split" not in capsys.readouterr().out
    assert run("runs/dot", "runs/mine", "runs/seed5", "runs/begun") == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f"perhaps other dev sentences: {'a' * 12} (dot, seed5)")
    assert second.endswith(f": {'b' * 12} (mine)")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "name the directories of runs: DIR DIR ..."),
        (["gone"], 1, "there is no run directory"),
        (["runs/dot", "runs/dot"], 2, "is given 2 times"),
        (["runs", "--metric=blue"], 2, "unknown metric 'blue'."),
        (["runs", "--figure=f.gif"], 2, "--figure: a figure is saved as one of .png"),
        (["runs", "--figure=no/f.png"], 2, "--figure: the folder 'no' does not"),
        (["runs", "--output=no/o.json"], 2, "--output: the folder 'no' does not"),
    ],
)
def test_a_mistake_is_one_line(folder, capsys, arguments, status, message):
    assert run(*arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_a_run_is_not_written_over(folder, capsys):
    before = (folder / "runs/dot/config.json").read_bytes()
    assert run("runs/dot", "runs/seed5", "--output=runs/dot/config.json") == 2
    assert "is a file of the run in" in capsys.readouterr().err
    assert (folder / "runs/dot/config.json").read_bytes() == before
