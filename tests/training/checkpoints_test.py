import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training.checkpoint_reading import load_params
from attention_jax.training.checkpoints import Checkpoints, Progress
from attention_jax.training.compilation import CompilationCounter
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.state import TrainState, init_state
from attention_jax.training.step import make_train_step
from tests.training.fakes import bigram_model, random_batch

ROOT = pathlib.Path(__file__).parents[2]


def states(steps):
    """The state after each of so many updates."""
    model, optimizer = bigram_model(), make_optimizer(TrainingConfig())
    state = init_state(model, optimizer, seed=0)
    train_step = make_train_step(model, optimizer)
    for step in range(steps):
        state, _ = train_step(state, random_batch(step))
        yield state


def like():
    return init_state(bigram_model(), make_optimizer(TrainingConfig()), seed=0)


def test_restored_state_is_bit_identical_though_the_saved_one_was_donated(tmp_path):
    kept = {}
    with Checkpoints(tmp_path / "c") as checkpoints:
        for state in states(3):
            kept[int(state.step)] = jax.tree.map(np.array, state)
            progress = Progress(minutes=1.5, best_loss=0.1 + 0.2, best_step=1)
            checkpoints.save(state, progress, dev_loss=math.inf)
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.steps() == [1, 2, 3]
        state, progress = checkpoints.restore(2, like())
    assert progress == Progress(minutes=1.5, best_loss=0.1 + 0.2, best_step=1)
    assert jax.tree.structure(state) == jax.tree.structure(kept[2])
    for left, right in zip(
        jax.tree.leaves(state), jax.tree.leaves(kept[2]), strict=True
    ):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def test_a_restored_state_compiles_nothing_anew(tmp_path):
    model, optimizer = bigram_model(), make_optimizer(TrainingConfig())
    state = init_state(model, optimizer, seed=0)
    train_step = make_train_step(model, optimizer)
    with CompilationCounter("train_step") as compilations:
        state, _ = train_step(state, random_batch(0))
        with Checkpoints(tmp_path / "c") as checkpoints:
            checkpoints.save(state, Progress(), dev_loss=math.inf)
            state, _ = checkpoints.restore(1, like())
        for step in (1, 2):
            state, _ = train_step(state, random_batch(step))
    assert compilations.count == 1
    loaded = load_params(tmp_path / "c", like().params)
    assert not loaded["table"].committed


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    losses = {2: 0.5, 4: 0.9}
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        for state in states(6):
            loss = losses.get(int(state.step), math.inf)
            checkpoints.save(state, Progress(), dev_loss=loss)
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        assert checkpoints.steps() == [2, 5, 6]
    params = {int(s.step): np.array(s.params["table"]) for s in states(6)}
    best = load_params(tmp_path / "c", like().params)
    np.testing.assert_array_equal(best["table"], params[2])
    last = load_params(tmp_path / "c", like().params, step=6)
    np.testing.assert_array_equal(last["table"], params[6])


def test_reading_changes_nothing_and_warns_of_nothing(tmp_path, caplog):
    path = tmp_path / "c"
    with Checkpoints(path) as checkpoints:
        for state in states(2):
            checkpoints.save(state, Progress(), dev_loss=math.inf)
    # Another process is in the middle of writing this one.
    (path / "3.orbax-checkpoint-tmp").mkdir()
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    load_params(path, like().params)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    assert caplog.text == ""


def test_without_dev_losses_the_last_one_is_loaded(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        for state in states(2):
            checkpoints.save(state, Progress(), dev_loss=math.inf)
            table = np.array(state.params["table"])
    loaded = load_params(tmp_path / "c", like().params)
    np.testing.assert_array_equal(loaded["table"], table)


def test_missing_checkpoints_are_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        load_params(tmp_path / "c", like().params)
    with Checkpoints(tmp_path / "c") as checkpoints:
        pass
    with pytest.raises(FileNotFoundError, match="holds no checkpoint yet"):
        load_params(tmp_path / "c", like().params)
    with Checkpoints(tmp_path / "c") as checkpoints:
        for state in states(1):
            checkpoints.save(state, Progress(), dev_loss=math.inf)
    with pytest.raises(FileNotFoundError, match=r"step 7; it has \[1\]"):
        load_params(tmp_path / "c", like().params, step=7)


WRITER = """
import jax, numpy as np, sys, pathlib
from attention_jax.training.checkpoints import Checkpoints, Progress
from attention_jax.training.state import TrainState
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), keep=2)
for step in range(1, 10_000):
    table = np.full((1000, 1000), step, np.float32)
    state = TrainState(np.int32(step), {"table": table}, {"table": table})
    checkpoints.save(state, Progress(minutes=float(step)), dev_loss=float(step))
    if len(checkpoints.steps()) > 2:
        print("started", step, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.03])
def test_killed_while_writing_leaves_whole_checkpoints(tmp_path, delay):
    path = tmp_path / "c"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    # A write is always under way: the loop starts the next before it prints.
    writer.stdout.readline()
    time.sleep(delay)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    table = jax.ShapeDtypeStruct((1000, 1000), np.float32)
    shapes = TrainState(np.int32(0), {"table": table}, {"table": table})
    with Checkpoints(path, keep=2) as checkpoints:
        steps = checkpoints.steps()
        assert steps
        for step in steps:
            state, progress = checkpoints.restore(step, shapes)
            np.testing.assert_array_equal(state.params["table"], float(step))
            np.testing.assert_array_equal(state.opt_state["table"], float(step))
            assert progress.minutes == step
    assert not [name for name in os.listdir(path) if "tmp" in name]


FULL = """
import pathlib, resource, sys
import numpy as np
from attention_jax.training.checkpoints import Checkpoints, Progress
from attention_jax.training.state import TrainState

def state(step):
    # As many arrays as a model has: the writes of the others are under way when one fails.
    random = np.random.default_rng(step)
    params = {f"w{i}": random.random((100, 100), np.float32) for i in range(20)}
    return TrainState(np.int32(step), params, params)

try:
    with Checkpoints(pathlib.Path(sys.argv[1])) as checkpoints:
        checkpoints.save(state(1), Progress(), dev_loss=1.0)
        checkpoints._manager.wait_until_finished()
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
        checkpoints.save(state(2), Progress(), dev_loss=0.5)
except OSError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    print(error)
"""


def test_a_write_that_the_disk_refuses_is_one_line_and_spares_the_others(tmp_path):
    path = tmp_path / "c"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"cannot write checkpoint 2 into {path}: File too large; "
        "the same training command resumes from 1\n"
    )
    with Checkpoints(path) as checkpoints:
        assert checkpoints.steps() == [1]


class FullManager:
    """Writes in the background, in vain."""

    def close(self):
        raise ValueError(
            'RESOURCE_EXHAUSTED: Error writing "a": Failed to write 3 bytes to file 7: '
            "No space left on device [os_error_code='28']"
        )

    def all_steps(self):
        return [5]


@pytest.fixture
def full(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints._manager, checkpoints._begun = FullManager(), 5
    yield checkpoints
    checkpoints._quiet.stop()


def test_the_last_write_failing_is_an_error_on_leaving(full):
    message = "^cannot write checkpoint 5 into .*: No space left on device$"
    with pytest.raises(OSError, match=message), full:
        pass


def test_what_ended_the_work_is_not_hidden_by_a_write_that_failed_too(full, caplog):
    with pytest.raises(KeyboardInterrupt), full:
        raise KeyboardInterrupt
    assert "cannot write checkpoint 5" in caplog.text


def test_a_full_disk_is_told_once(full, caplog):
    with pytest.raises(OSError, match="^first$"), full:
        raise OSError("first")
    assert caplog.text == ""


def test_an_error_that_is_not_the_disks_keeps_its_traceback(full, monkeypatch):
    def bug():
        raise ValueError("a bug")

    monkeypatch.setattr(full._manager, "close", bug, raising=False)
    with pytest.raises(ValueError, match="^a bug$"), full:
        pass
