"""Whole runs of a tiny model: start, kill, resume, refuse, stop."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import pytest

from attention_jax.atomic_write import read_lines
from attention_jax.data.batches import eval_batches
from attention_jax.errors import UserError
from attention_jax.experiment import run_experiment, validate
from attention_jax.run import load_run
from attention_jax.training import RunDirectory, train
from attention_jax.training.checkpoints import Checkpoints, best_metrics
from attention_jax.training.loop import DevTranslations, prepare
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.run_directory import ChangedRunError
from attention_jax.training.step import NonFiniteLossError, init_state, make_eval_step
from experiments.cli import load_config
from experiments.progress import describe

ROOT = pathlib.Path(__file__).parents[2]

TINY = """
from attention_jax.config import *

def get_config():
    return ExperimentConfig(
        seed=3,
        data=DataConfig(source="synthetic", task="copy", source_tokenizer="words",
                        min_length=1, max_length=3, symbols=6, num_pairs=120,
                        num_dev=10, num_test=10, num_buckets=1),
        model=ModelConfig(cell="gru", embedding_size=8, encoder_size=8,
                          decoder_size=8, bidirectional=False, dropout=0.2),
        training=TrainingConfig(batch_size=16, steps=40, warmup_steps=5,
                                learning_rate=0.02, log_every=10, eval_every=20,
                                checkpoint_every=5, num_samples=2),
        decoding=DecodingConfig(batch_size=10),
    )
"""


@pytest.fixture(scope="module", autouse=True)
def compilation_cache(tmp_path_factory):
    """Every run here compiles the same functions; once is enough."""
    from jax.experimental.compilation_cache import compilation_cache

    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in options}
    compilation_cache.reset_cache()
    for name, value in options.items():
        jax.config.update(name, value)
    yield {name.upper(): str(value) for name, value in options.items()}
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def config(config_file):
    config = load_config(str(config_file))
    validate(config)
    return config


@pytest.fixture(scope="module")
def finished(config_file, tmp_path_factory):
    """An undisturbed run: its directory, the rows it logged, and its result."""
    workdir, rows = tmp_path_factory.mktemp("runs") / "finished", []
    result = run_experiment(
        load_config(str(config_file)), workdir, log=rows.append, command=["train"]
    )
    return workdir, rows, result


def last_state(workdir, config=None):
    """The last checkpoint's state."""
    run = load_run(workdir, checkpoint="last")
    training = config.training if config else run.config.training
    optimizer = make_optimizer(training)
    like = init_state(run.model, optimizer, seed=0, training=training)
    with Checkpoints(RunDirectory(workdir).checkpoints_path) as checkpoints:
        state, _ = checkpoints.restore(checkpoints.steps()[-1], like)
    return jax.tree.map(np.asarray, state)


def measured(workdir):
    """metrics.jsonl without what a clock says."""
    clocked = {"minutes", "tokens_per_second", "compilations"}
    rows = read_lines(RunDirectory(workdir).metrics_path)
    return [{k: v for k, v in row.items() if k not in clocked} for row in rows]


def assert_equal_runs(workdir, finished):
    undisturbed, _, _ = finished
    chex.assert_trees_all_equal(last_state(workdir), last_state(undisturbed))
    assert measured(workdir) == measured(undisturbed)


def test_a_run_logs_what_it_does(finished):
    workdir, rows, result = finished
    assert result.finished
    assert result.step == 40
    assert result.best_step in (20, 40)
    events = [(row["event"], row["step"]) for row in rows if row["event"] != "sample"]
    assert events == [
        ("start", 0),
        ("train", 10),
        ("train", 20),
        ("dev", 20),
        ("train", 30),
        ("train", 40),
        ("dev", 40),
        ("end", 40),
    ]
    stored = read_lines(RunDirectory(workdir).metrics_path)
    assert stored == [row for row in rows if row["event"] in ("train", "dev")]
    trained = [row for row in rows if row["event"] == "train"]
    assert trained[-1]["loss"] < trained[0]["loss"]
    assert all(row["compilations"] == 1 for row in trained)
    assert all(row["tokens_per_second"] > 0 for row in trained)
    assert trained[0]["epoch"] == pytest.approx(10 / rows[0]["steps_per_epoch"])
    half_cosine = 0.5 * (1 + np.cos(np.pi * (19 - 5) / (40 - 5)))
    assert trained[1]["learning_rate"] == pytest.approx(0.02 * half_cosine, rel=1e-5)
    samples = read_lines(RunDirectory(workdir).samples_path)
    assert [sample["step"] for sample in samples] == [20, 20, 40, 40]
    assert all(sample["source"] == sample["reference"] for sample in samples)
    [session] = RunDirectory(workdir).load_record()["sessions"]
    assert session["command"] == ["train"] and session["seed"] == 3
    assert len(session["split_hash"]) == 64
    assert session["versions"]["jax"] == jax.__version__
    assert session["pairs"] == {"train": 100, "dev": 10, "test": 10}


def test_dev_loss_is_that_of_the_best_checkpoint(finished, config):
    workdir, _, result = finished
    run, experiment = load_run(workdir), prepare(config)
    [batch] = eval_batches(experiment.dev, 10)
    sums = make_eval_step(run.model)(run.params, batch)
    loss = float(sums.cross_entropy) / float(sums.tokens)
    assert loss == pytest.approx(result.best_loss, rel=1e-6)


def test_the_same_command_again_does_nothing_more(finished, config):
    workdir, _, result = finished
    before, rows = measured(workdir), []
    assert run_experiment(config, workdir, log=rows.append) == result
    assert [row["event"] for row in rows] == ["start", "end"]
    assert measured(workdir) == before


def test_a_run_killed_at_any_moment_resumes_bit_identically(
    finished, config, config_file, compilation_cache, tmp_path
):
    workdir = tmp_path / "killed"
    command = [sys.executable, "-m", "experiments.train"]
    command += [f"--config={config_file}", f"--workdir={workdir}"]
    environment = os.environ | compilation_cache
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        first = RunDirectory(workdir).checkpoints_path / "5"
        while not first.exists() and process.poll() is None:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    result = run_experiment(config, workdir)
    assert result.finished
    _, _, expected = finished
    assert (result.step, result.best_step) == (40, expected.best_step)
    assert result.best_loss == expected.best_loss
    assert_equal_runs(workdir, finished)
    sessions = RunDirectory(workdir).load_record()["sessions"]
    assert sessions[0]["first_step"] == 0
    # Killed before the end, or this would test nothing.
    assert 5 <= sessions[1]["first_step"] < 40


def test_a_stopped_run_saves_and_resumes_to_the_same_metrics(
    finished, config, tmp_path
):
    workdir, asked = tmp_path / "stopped", iter([False] * 12 + [True])
    result = run_experiment(config, workdir, should_stop=lambda: next(asked))
    assert (result.reason, result.step, result.finished) == ("stopped", 13, False)
    # Between two lines of the log: the sums so far are in the checkpoint.
    asked = iter([False] * 12 + [True])
    result = run_experiment(config, workdir, should_stop=lambda: next(asked))
    assert (result.reason, result.step) == ("stopped", 26)
    assert run_experiment(config, workdir).finished
    assert_equal_runs(workdir, finished)


def test_sigterm_saves_and_exits(
    finished, config, config_file, compilation_cache, tmp_path
):
    workdir = tmp_path / "terminated"
    command = [sys.executable, "-m", "experiments.train"]
    command += [f"--config={config_file}", f"--workdir={workdir}"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | compilation_cache,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while "step 10/40" not in (line := process.stderr.readline()):
            assert line, "it ended before it could be terminated"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped when asked to; the same command goes on from here: after step" in (
        errors
    )
    stopped_at = int(last_state(workdir).step)
    assert 10 < stopped_at < 40
    rows = []
    run_experiment(config, workdir, log=rows.append)
    assert rows[0]["step"] == stopped_at
    assert_equal_runs(workdir, finished)


def test_a_flipped_bit_in_the_last_checkpoint_changes_nothing_in_the_end(
    finished, config, tmp_path
):
    workdir = shutil.copytree(finished[0], tmp_path / "damaged")
    for file in (workdir / "checkpoints" / "40").rglob("*"):
        if file.is_file() and "/d/" in str(file):
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(bytes(data))
    rows = []
    result = run_experiment(config, workdir, log=rows.append)
    assert result.finished
    assert rows[0]["step"] == 35
    assert list(rows[0]["damaged_checkpoints"]) == ["40"]
    assert_equal_runs(workdir, finished)
    assert (workdir / "damaged_checkpoints" / "40").is_dir()
    session = RunDirectory(workdir).load_record()["sessions"][-1]
    assert "is damaged" in session["damaged_checkpoints"]["40"]


def test_a_changed_configuration_goes_on_if_that_is_allowed(finished, config, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "longer")
    config.training.steps, rows = 50, []
    result = run_experiment(config, workdir, log=rows.append, allow_changed_config=True)
    assert (result.reason, result.step) == ("steps", 50)
    assert rows[0]["changed_config"] == ["training.steps: 40 -> 50"]
    assert RunDirectory(workdir).load_config().training.steps == 50
    session = RunDirectory(workdir).load_record()["sessions"][-1]
    assert session["changed_config"] == ["training.steps: 40 -> 50"]
    # It is the run's configuration from now on.
    assert run_experiment(config, workdir).step == 50


def test_other_data_is_refused_and_once_allowed_is_the_runs_data(config, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    lines = [f"{a} {b}\t{b} {a}" for a in "abcdefgh" for b in "stuvwxyz"]
    pairs.write_text("\n".join(lines))
    config.data.source, config.data.path = "tsv", str(pairs)
    config.training.max_minutes = 1e-9
    train(config, tmp_path / "run")
    pairs.write_text("\n".join(lines).replace("a", "A"))
    with pytest.raises(ChangedRunError, match="begun with other data"):
        train(config, tmp_path / "run")
    train(config, tmp_path / "run", allow_changed_config=True)
    assert train(config, tmp_path / "run").reason == "minutes"


def scored(*bleus):
    """An evaluation for `train` that finds one BLEU after the other."""
    found = iter(bleus)
    return lambda experiment: lambda params: DevTranslations({"bleu": next(found)}, ())


def test_the_best_by_another_criterion_is_what_is_loaded(config, tmp_path):
    config.training.best_by = "bleu"
    with pytest.raises(UserError, match="best_by is bleu, but nothing evaluates BLEU"):
        train(config, tmp_path / "run")
    assert train(config, tmp_path / "run", evaluate=scored(9, 8)).best_step == 20
    config.training.best_by = "loss"
    config.training.steps += 2
    train(config, tmp_path / "run", allow_changed_config=True)
    best = best_metrics(RunDirectory(tmp_path / "run").checkpoints_path, "loss")
    losses = [
        row["loss"] for row in measured(tmp_path / "run") if row["event"] == "dev"
    ]
    assert best["dev_loss"] == min(losses)


def test_early_stopping_ends_the_run_for_good(config, tmp_path):
    config.training.eval_every, config.training.early_stopping_patience = 2, 1
    config.training.best_by, rows = "bleu", []
    result = train(config, tmp_path / "run", evaluate=scored(7, 7))
    assert (result.reason, result.step, result.finished) == ("patience", 4, True)
    assert result.best_step == 2
    again = train(config, tmp_path / "run", evaluate=scored(), log=rows.append)
    assert again == result
    assert [row["event"] for row in rows] == ["start", "end"]


def test_averages_survive_a_restart(config, tmp_path):
    config.training.ema_decay, config.training.steps = 0.9, 24
    train(config, tmp_path / "whole")
    for stop in (6, 15, 99):
        asked = iter(range(1, 99))
        train(
            config,
            tmp_path / "parts",
            should_stop=lambda asked=asked, stop=stop: next(asked) == stop,
        )
    states = [last_state(tmp_path / name, config) for name in ("whole", "parts")]
    chex.assert_trees_all_equal(*states)
    assert measured(tmp_path / "whole") == measured(tmp_path / "parts")
    run = load_run(tmp_path / "whole", checkpoint="last")
    chex.assert_trees_all_equal(run.params, states[0].averages)


def test_an_interrupted_run_resumes_bit_identically(finished, config, tmp_path):
    workdir = tmp_path / "interrupted"

    def interrupt(row):
        if row["event"] == "train" and row["step"] == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, workdir, log=interrupt)
    assert measured(workdir)[-1]["step"] == 30
    rows = []
    run_experiment(config, workdir, log=rows.append)
    # The line of step 30 was written, but step 25 is the last checkpoint.
    assert rows[0]["event"] == "start"
    assert rows[0]["step"] == 25
    assert rows[1]["step"] == 30
    assert_equal_runs(workdir, finished)
    samples = read_lines(RunDirectory(workdir).samples_path)
    assert samples == read_lines(RunDirectory(finished[0]).samples_path)
    assert "begun_again_after" not in rows[0]


def test_checkpoints_that_are_gone_are_reported(finished, config, tmp_path):
    workdir = tmp_path / "without"
    shutil.copytree(finished[0], workdir)
    shutil.rmtree(RunDirectory(workdir).checkpoints_path)
    rows = []
    run_experiment(config, workdir, log=rows.append, should_stop=lambda: True)
    assert rows[0]["begun_again_after"] == 40
    assert "beginning again from step 0" in describe(rows[0], 40)


def test_another_configuration_is_refused_field_by_field(finished, config):
    workdir, _, _ = finished
    config.training.steps, config.model.dropout = 80, 0.1
    message = r"\(model\.dropout: 0\.2 -> 0\.1; training\.steps: 40 -> 80\).*fixed at the start"
    with pytest.raises(ChangedRunError, match=message):
        train(config, workdir)
    for field in ("batch_size", "log_every", "eval_every", "warmup_steps"):
        setattr(config.training, field, getattr(config.training, field) + 1)
    config.seed = 9
    with pytest.raises(
        ChangedRunError, match=r"\(seed: 3 -> 9; .*; and 2 more\);"
    ) as e:
        train(config, workdir)
    assert str(e.value).count(" -> ") == 5


def test_a_workdir_that_cannot_be_is_found_before_the_data_is_read(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr("attention_jax.training.loop.prepare", None)
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="workdir .* cannot be made or written: File ex"):
        train(config, tmp_path / "run")


def test_a_full_disk_while_training_is_its_error(config, tmp_path, monkeypatch):
    def full(path, rows):
        raise OSError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("attention_jax.training.loop.append_lines", full)
    with pytest.raises(OSError, match=r"^cannot write .*metrics\.jsonl: No space left"):
        train(config, tmp_path / "run")


def test_max_minutes_stops_with_a_checkpoint_and_counts_over_restarts(config, tmp_path):
    config.training.max_minutes = 1e-9
    for _ in range(2):
        result = train(config, tmp_path / "run")
        assert (result.reason, result.finished) == ("minutes", True)
        assert result.step == 1
    assert int(last_state(tmp_path / "run").step) == 1


def test_a_loss_that_is_not_finite_names_its_step_and_the_good_checkpoint(
    config, tmp_path
):
    config.training.learning_rate, config.training.schedule = 1e37, "inverse_sqrt"
    config.training.checkpoint_every = 1
    message = r"of step \d+ is .*lists the 16 training pairs .* is of step \d+; a lower"
    with pytest.raises(NonFiniteLossError, match=message) as error:
        train(config, tmp_path / "run")
    good = last_state(tmp_path / "run").step
    assert good >= 1
    found = json.loads((tmp_path / "run" / "non_finite.json").read_text())
    assert found["step"] == error.value.step
    experiment = prepare(config)
    ids = experiment.batches.at(found["step"] - 1).example_ids
    assert [pair["id"] for pair in found["pairs"]] == list(ids)
    for pair in found["pairs"]:
        assert pair["source"] == experiment.splits.train[pair["id"]].source


def test_data_that_cannot_be_loaded_leaves_no_directory(config, tmp_path):
    config.data.source, config.data.path = "tsv", str(tmp_path / "missing.tsv")
    with pytest.raises(UserError, match="no file .*missing.tsv"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_in_a_run_is_a_pickle(finished):
    workdir, _, _ = finished
    files = [path for path in workdir.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]
    json.loads((workdir / "codecs.json").read_text("utf-8"))
