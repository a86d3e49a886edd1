"""Whole sweeps of tiny models: run, again, kill, fail, choose, refuse."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

from attention_jax.config import ExperimentConfig
from attention_jax.errors import UserError
from attention_jax.evaluation import evaluate
from attention_jax.run import load_run
from attention_jax.training import RunDirectory
from experiments import cli, sweep
from experiments.cli import load_configs
from experiments.sweep import name_runs
from tests.experiments.programs import runner
from tests.experiments.train_test import ROOT, TINY, compilation_cache

__all__ = ["compilation_cache"]

ONE = TINY.replace("def get_config():", "def one():")
RUNS = """
def with_score(score, **training):
    config = one()
    config.model.score = score
    for name, value in training.items():
        setattr(config.training, name, value)
    return config
"""
TWO = (
    ONE + RUNS + "def get_config(): return [with_score('dot'), with_score('cosine')]\n"
)
NAMES = ["score=dot", "score=cosine"]


run = runner(sweep, required=("config", "workdir"))


def parsed(*arguments):
    values = flags.FlagValues()
    sweep.define_flags(values)
    given = cli.parse(["sweep", *arguments], values)
    return name_runs(load_configs(given.config, vars(given)))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The config file of a sweep of two runs."""
    path = tmp_path_factory.mktemp("configs") / "two.py"
    path.write_text(TWO)
    return path


@pytest.fixture(scope="module")
def finished(two, tmp_path_factory):
    """An undisturbed sweep of both: its directory."""
    workdir = tmp_path_factory.mktemp("sweeps") / "finished"
    assert run(f"--config={two}", f"--workdir={workdir}") == 0
    return workdir


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder, in which `write` makes a config file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(body):
    pathlib.Path("s.py").write_text(f"{ONE}{RUNS}{body}\n")
    return "--config=s.py"


def results(directory):
    return json.loads((directory / "results.json").read_text("utf-8"))


def result(path):
    return json.loads((path / "result.json").read_text("utf-8"))


def untrained(monkeypatch):
    """Makes training a failure of the test."""
    monkeypatch.setattr(
        sweep, "run_experiment", lambda *_, **__: pytest.fail("trained")
    )


def test_each_run_is_a_row_measured_on_test(finished):
    found = results(finished)
    assert found["complete"] is True
    assert [row["name"] for row in found["runs"]] == NAMES
    dot, cosine = found["runs"]
    assert dot["differs"] == {"model.score": "dot"}
    assert {dot["status"], cosine["status"]} == {"finished"}
    assert cosine["parameters"] == dot["parameters"] + 1
    assert (dot["steps"], dot["sentences"], dot["seed"]) == (40, 10, 3)
    assert dot["tokens_per_second"] > 0 and dot["minutes"] > 0
    assert len(dot["split_hash"]) == 64 and dot["versions"]["jax"]

    directory = RunDirectory(finished / "score=dot")
    pairs = evaluate.load_split(directory, "test")
    measured = evaluate.evaluate(load_run(directory.path), pairs).to_dict()
    assert dot["metrics"] == measured["metrics"]
    names = [m["name"] for m in dot["metrics"]]
    assert names == ["BLEU", "chrF2", "exact match", "TER"]
    assert (dot["split"], dot["checkpoint"]) == ("test", "best")
    # What a run is measured by is in its own directory, as is TensorBoard's.
    assert result(directory.path)["metrics"] == dot["metrics"]
    assert list(directory.events_path.iterdir())


def test_the_same_command_again_does_nothing_and_prints_the_table(
    finished, two, monkeypatch, capsys
):
    untrained(monkeypatch)
    before = results(finished)["runs"]
    # As if killed between a run's result and the table.
    (finished / "results.json").unlink()
    assert run(f"--config={two}", f"--workdir={finished}") == 0
    assert results(finished)["runs"] == before
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"{name}: finished: before" for name in NAMES]
    title, head, dot, cosine, *below = out.splitlines()
    assert title == f"{finished}, on test"
    columns = (
        "run score parameters BLEU chrF2 exact match TER ↓ AER ↓ minutes tokens/s notes"
    )
    assert head.split() == columns.split()
    scores = [f"{metric['score']:.2f}" for metric in before[0]["metrics"]]
    assert dot.split()[:3] == ["score=dot", "dot", f"{before[0]['parameters']:,}"]
    error_rate = f"{before[0]['aligned']['error_rate']:.1%}"
    assert dot.split()[3:8] == [*scores, error_rate]
    assert cosine.startswith("score=cosine ")
    signature = before[0]["metrics"][0]["signature"]
    assert below[0] == f"BLEU: {signature}"
    assert f"hash {before[0]['split_hash']}" in below[4]
    assert "seed: 3" in below
    assert any(one.startswith("versions: python ") for one in below)


def test_a_sweep_killed_in_the_middle_goes_on_there(
    finished, two, compilation_cache, tmp_path, capsys
):
    workdir = tmp_path / "killed"
    shutil.copytree(finished / NAMES[0], workdir / NAMES[0])
    command = [sys.executable, "-m", "experiments.sweep"]
    command += [f"--config={two}", f"--workdir={workdir}"]
    runs = [RunDirectory(workdir / name) for name in NAMES]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | compilation_cache,
        stderr=subprocess.DEVNULL,
    ) as process:
        first = runs[1].checkpoints_path / "5"
        while not first.exists() and process.poll() is None:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    left = results(workdir)
    assert left["complete"] is False
    assert [row["status"] for row in left["runs"]] == ["finished", "unfinished"]
    before = runs[0].load_record()

    assert run(f"--config={two}", f"--workdir={workdir}") == 0
    lines = capsys.readouterr().err.splitlines()
    assert f"{NAMES[0]}: finished: before" in lines
    assert f"{NAMES[1]}: finished" in lines
    # The finished one was let alone; the other went on from its checkpoint.
    assert runs[0].load_record() == before
    sessions = runs[1].load_record()["sessions"]
    assert 5 <= sessions[1]["first_step"] < 40
    metrics = [
        [row["metrics"] for row in results(one)["runs"]] for one in (workdir, finished)
    ]
    assert metrics[0] == metrics[1]


def test_a_run_that_fails_has_its_reason_and_the_others_go_on(finished, folder, capsys):
    # Validation tries two keys.
    bad = "    if len(keys) > 2: raise KeyError('no\\nluck')\n    return keys @ query\n"
    (folder / "bad.py").write_text(f"def bad(query, keys):\n{bad}")
    config = write(
        "def get_config(): return dict(infinite=with_score('dot', learning_rate=1e37,"
        "schedule='inverse_sqrt'), raising=with_score('bad.py:bad'),"
        "good=with_score('dot'))"
    )
    shutil.copytree(finished / NAMES[0], folder / "w/good")
    # Trained, but a kill came before it was measured.
    (folder / "w/good/result.json").unlink()
    assert run(config, "--workdir=w") == 1
    out, err = capsys.readouterr()
    directory = folder / "w"
    infinite, raising, good = results(directory)["runs"]
    assert [infinite["status"], raising["status"]] == ["failed", "failed"]
    assert re.match(r"the (loss|gradient) of step \d+ is ", infinite["reason"])
    assert raising["reason"] == r"KeyError in line 2 of bad.py: 'no\nluck'"
    assert good["status"] == "finished"
    assert "infinite: failed: the " in err and "good: finished\n" in err
    row = next(line for line in out.splitlines() if line.startswith("raising "))
    assert row.split()[1:3] == ["bad.py:bad", "0.02"] and row.endswith(
        raising["reason"]
    )
    # The whole story stays with the run.
    assert "Traceback" in result(directory / "raising")["traceback"]
    assert "traceback" not in raising
    # What failed is tried again, what is finished is not.
    with pytest.MonkeyPatch.context() as patch:
        trained = []

        def fails(config, workdir, **_):
            trained.append(pathlib.Path(workdir).name)
            raise OSError("disk\nfull")

        patch.setattr(sweep, "run_experiment", fails)
        assert run(config, "--workdir=w", "--only=raising,good") == 1
        assert trained == ["raising"]
    assert results(directory)["runs"][1]["reason"] == "disk full"
    assert results(directory)["runs"][0]["reason"] == infinite["reason"]
    capsys.readouterr()
    assert run(config, "--workdir=w", "--only=good") == 0


def test_names_are_those_of_the_overridden_configurations(folder):
    config = write(
        "def get_config(): return [with_score('dot', steps=5), with_score('cosine')]"
    )
    assert next(iter(parsed(config))) == "score=dot+steps=5"
    assert list(parsed(config, "--config.training.steps=3")) == NAMES
    assert list(parsed(write("get_config = one"))) == ["run"]


PAIR = "def get_config(): return [with_score('dot'), with_score('cosine')]"
MISTAKES = {
    "out of range": (
        PAIR,
        ["--config.training.steps=0"],
        "score=dot: config.training.steps must be at least 1, got 0",
    ),
    "unknown run": (
        PAIR,
        ["--only=score=dott,score=dot"],
        "unknown run 'score=dott'. Did you mean 'score=dot'? Known: score=dot, score=c",
    ),
    "made the same": (
        PAIR,
        ["--config.model.score=dot"],
        "two runs of the sweep have the name run, or its case: they are equal, or",
    ),
    "no test set": (
        PAIR,
        ["--config.data.num_test=0"],
        "score=dot: config.data.num_test must be at least 1, got 0",
    ),
    "the second is invalid": (
        "def get_config(): return [one(), with_score('dott')]",
        [],
        "score=dott: config.model.score: unknown score 'dott'. Did you mean 'dot'?",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_any_work(folder, capsys, monkeypatch, name):
    untrained(monkeypatch)
    body, arguments, message = MISTAKES[name]
    assert run(write(body), "--workdir=w", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert message in err
    assert not (folder / "w").exists()


def test_another_configuration_is_refused_before_any_run(
    finished, two, monkeypatch, capsys
):
    untrained(monkeypatch)
    arguments = (f"--config={two}", f"--workdir={finished}")
    before = (finished / "results.json").read_text("utf-8")
    assert run(*arguments, "--config.training.steps=41") == 2
    err = capsys.readouterr().err
    assert (
        "score=dot holds a run of another configuration (training.steps: 40 ->" in err
    )
    assert err.count("\n") == 1
    assert (finished / "results.json").read_text("utf-8") == before


def test_a_runs_own_directory_is_no_sweeps(finished, two, monkeypatch, capsys):
    untrained(monkeypatch)
    workdir = finished / NAMES[0]
    assert run(f"--config={two}", f"--workdir={workdir}") == 2
    assert "holds a run: give the sweep a workdir of its own" in capsys.readouterr().err


def test_a_run_that_another_process_trains_is_left_to_it(two, tmp_path, capsys):
    path = tmp_path / NAMES[0]
    path.mkdir()
    with RunDirectory(path).lock():
        only = f"--only={NAMES[0]}"
        assert run(f"--config={two}", f"--workdir={tmp_path}", only) == 1
    assert re.search(r"busy: .* is being trained in by", capsys.readouterr().err)
    assert not (path / "result.json").exists()


def test_sigterm_saves_and_ends_the_sweep(two, tmp_path, monkeypatch, capsys):
    asked = iter([False] * 12)
    received = contextlib.nullcontext(lambda: next(asked, True))
    monkeypatch.setattr(cli, "sigterm_received", lambda: received)
    assert run(f"--config={two}", f"--workdir={tmp_path}") == 128 + signal.SIGTERM
    dot, cosine = results(tmp_path)["runs"]
    assert dot["status"] == "unfinished" and " of 40 steps" in dot["reason"]
    assert (cosine["status"], cosine["reason"]) == ("unfinished", "not begun")
    out, err = capsys.readouterr()
    assert re.search(r"score=dot: stopped: after step \d+\n$", err)
    assert "unfinished: not begun" in out
    # Saved: the last checkpoint is that of the step.
    [step] = re.findall(r"after step (\d+)\n$", err)
    assert (RunDirectory(tmp_path / NAMES[0]).checkpoints_path / step).exists()


def test_what_is_not_the_same_for_all_is_said_of_each(finished):
    rows = results(finished)["runs"]
    rows[1]["split_hash"] = "f" * 64
    configs = dict.fromkeys(NAMES, ExperimentConfig())
    notes = sweep.table(configs, rows).notes
    dot, cosine = [line for line in notes if line.startswith("split: ")]
    assert dot.endswith(" (score=dot)")
    assert cosine == f"split: test, 10 sentences, hash {'f' * 64} (score=cosine)"


def named(**fields):
    """A list of configurations, and their names."""
    lists = [ExperimentConfig() for _ in next(iter(fields.values()))]
    for path, values in fields.items():
        for config, value in zip(lists, values, strict=True):
            section, field = path.split("__")
            setattr(getattr(config, section), field, value)
    return list(name_runs(lists))


def test_a_list_is_named_by_what_differs():
    assert named(model__score=["dot", "cosine"]) == ["score=dot", "score=cosine"]
    assert named(data__seed=[2, 0], training__batch_size=[8, 64]) == [
        "data.seed=2+training.batch_size=8",
        "data.seed=0+training.batch_size=64",
    ]


def test_names_are_fit_for_files_and_told_apart():
    scores = ["a/b/mine.py:f", "a/b/mine.py:g h"]
    assert named(model__score=scores) == ["score=mine.py-f", "score=mine.py-g-h"]
    for alike in (["é", "ü"], ["A", "a"], [200 * "x" + end for end in "ab"]):
        with pytest.raises(UserError, match="must return a dict of other names"):
            named(data__path=alike)


@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", ".hidden", "a,b", "é", 3, "x" * 121, "a\n"]
)
def test_a_dicts_names_must_be_file_names(name):
    with pytest.raises(UserError, match="name of a run must be a file name of at most"):
        name_runs({name: ExperimentConfig()})
