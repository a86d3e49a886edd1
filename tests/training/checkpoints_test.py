"""Checkpoints: bit-identical, best and last kept, damage found, kills and full disks survived."""

import functools
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training import checkpoints as checkpoints_module
from attention_jax.training.checkpoints import (
    Checkpoints,
    DamagedCheckpointError,
    IncompatibleCheckpointError,
    best_metrics,
    json_digest,
    load_params,
    tree_digest,
    tree_shapes,
)
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.step import TrainState, init_state, make_train_step
from tests.training.fakes import bigram_model, random_batch

ROOT = pathlib.Path(__file__).parents[2]
TRAINING = TrainingConfig(ema_decay=0.9)


@functools.cache
def like(vocabulary=6):
    model = bigram_model(vocabulary)
    return init_state(model, make_optimizer(TRAINING), seed=0, training=TRAINING)


@functools.cache
def states():
    """After 1, 2 and 3 updates."""
    state, found = jax.tree.map(jnp.array, like()), []
    train_step = make_train_step(bigram_model(), make_optimizer(TRAINING), TRAINING)
    for step in range(3):
        state, _ = train_step(state, random_batch(step))
        found.append(jax.tree.map(np.array, state))
    return found


def state_at(step):
    """A state whose parameters are its step."""
    params = {"table": np.full((6, 6), step, np.float32)}
    return like()._replace(step=np.int32(step), params=params, averages=params)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "checkpoints"
    with Checkpoints(path) as checkpoints:
        for state in states():
            step = int(state.step)
            checkpoints.save(state, {"minutes": step / 3}, dev_loss=1.0 / step)
    return path


@pytest.fixture
def path(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def flip(file, place):
    data = bytearray(file.read_bytes())
    data[place] ^= 0x10
    file.write_bytes(bytes(data))


def array_files(folder):
    """The files with the arrays' bytes."""
    return [f for f in folder.rglob("*") if f.is_file() and "/d/" in str(f)]


def damage(folder):
    for file in array_files(folder):
        flip(file, file.stat().st_size // 2)


def test_a_restored_state_is_bit_identical_though_the_saved_one_was_donated(tmp_path):
    model, optimizer = bigram_model(), make_optimizer(TRAINING)
    state, kept = init_state(model, optimizer, seed=0, training=TRAINING), None
    train_step = make_train_step(model, optimizer, TRAINING)
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in range(3):
            state, _ = train_step(state, random_batch(step))
            if step == 1:
                kept = jax.tree.map(np.array, state)
                checkpoints.save(state, {"best_loss": 0.1 + 0.2})
        state, progress = checkpoints.restore(2, like())
        assert progress == {"best_loss": 0.1 + 0.2}
        chex.assert_trees_all_equal(state, kept)
        chex.assert_trees_all_equal_dtypes(state, kept)
        assert jax.tree.structure(state) == jax.tree.structure(kept)
        # It compiles nothing anew.
        train_step(state, random_batch(3))
    assert train_step._cache_size() == 1
    assert not load_params(tmp_path / "c", like().params)["table"].committed


FIGURES = {1: (3.0, 9.0), 2: (2.0, 8.0), 3: (math.nan, math.nan), 4: (2.0, 9.0)}


@pytest.mark.parametrize(("best_by", "best"), [("loss", 2), ("bleu", 1)])
def test_the_last_ones_and_the_first_of_the_best_are_kept(tmp_path, best_by, best):
    path = tmp_path / "c"
    with Checkpoints(path, keep=2, best_by=best_by) as checkpoints:
        for step, (loss, bleu) in FIGURES.items():
            checkpoints.save(state_at(step), {}, dev_loss=loss, dev_bleu=bleu)
        for step in (5, 6):
            checkpoints.save(state_at(step), {})
    with Checkpoints(path, keep=2, best_by=best_by) as checkpoints:
        assert checkpoints.steps() == [best, 5, 6]
    loss, bleu = FIGURES[best]
    assert best_metrics(path, best_by) == {
        "step": best,
        "dev_loss": loss,
        "dev_bleu": bleu,
    }
    assert load_params(path, like().params, best_by=best_by)["table"][0, 0] == best
    assert load_params(path, like().params, step=6)["table"][0, 0] == 6


def test_reading_changes_nothing_and_warns_of_nothing(path, caplog):
    # Another process is in the middle of writing this one.
    (path / "4.orbax-checkpoint-tmp").mkdir()
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    load_params(path, like().params)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    assert caplog.text == ""


def test_missing_checkpoints_are_said_to_be_missing(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint yet"):
        load_params(tmp_path / "c", like().params)
    (tmp_path / "c").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no checkpoint yet"):
        load_params(tmp_path / "c", like().params)
    with pytest.raises(FileNotFoundError, match=r"step 7; it has \[1, 2, 3\]"):
        load_params(path, like().params, step=7)


def test_what_is_loaded_is_the_averages(path):
    loaded = load_params(path, like().params, step=2)
    np.testing.assert_array_equal(loaded["table"], states()[1].averages["table"])


def test_a_flipped_bit_is_found_or_harmless_wherever_it_is(written, tmp_path):
    random, found = np.random.default_rng(0), 0
    files = [f for f in (written / "3").rglob("*") if f.is_file() and f.stat().st_size]
    assert len(files) > 5
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(written / "3", copy / "c" / "3")
        place = int(random.integers(file.stat().st_size))
        flip(copy / "c" / file.relative_to(written), place)
        with Checkpoints(copy / "c") as checkpoints:
            try:
                state, progress = checkpoints.restore(3, like())
            except (DamagedCheckpointError, IncompatibleCheckpointError):
                found += 1
                continue
        chex.assert_trees_all_equal(state, states()[2])
        assert progress == {"minutes": 1.0}
    # Many files are markers, or copies that are no longer read.
    assert found >= len(files) // 4


def lose_manifest(folder):
    shutil.rmtree(folder / "manifest")


def cut_arrays(folder):
    for file in array_files(folder):
        file.write_bytes(file.read_bytes()[:-9])


def spoil_manifest(folder):
    (folder / "manifest" / "metadata").write_text('{"format": 2#}')


def better_loss(folder):
    file = folder / "manifest" / "metadata"
    file.write_text(file.read_text().replace("0.3", "0.1"))


@pytest.mark.parametrize(
    "harm",
    [
        damage,
        lose_manifest,
        cut_arrays,
        spoil_manifest,
        better_loss,
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_is_resumed_from(path, harm):
    harm(path / "3")
    with Checkpoints(path) as checkpoints:
        state, progress, damaged = checkpoints.resume(like())
        assert checkpoints.steps() == [1, 2]
        chex.assert_trees_all_equal(state, states()[1])
        assert progress == {"minutes": 2 / 3}
        assert list(damaged) == ["3"]
        assert "3 is damaged" in damaged["3"]
        # Its step can be written again.
        checkpoints.save(states()[2], {}, dev_loss=1.0)
    aside = path.with_name("damaged_checkpoints")
    assert [folder.name for folder in aside.iterdir()] == ["3"]
    damage(path / "3")
    with Checkpoints(path) as checkpoints:
        assert list(checkpoints.resume(like())[2]) == ["3"]
    assert sorted(folder.name for folder in aside.iterdir()) == ["3", "3-2"]


def test_nothing_whole_is_an_error_that_moves_nothing(path):
    for step in "123":
        damage(path / step)
    message = "no checkpoint in .* is whole: checkpoint .*3 is damaged"
    with (
        Checkpoints(path) as checkpoints,
        pytest.raises(DamagedCheckpointError, match=message),
    ):
        checkpoints.resume(like())
    assert not path.with_name("damaged_checkpoints").exists()


def test_loading_a_damaged_one_is_an_error(path):
    damage(path / "3" / "averages")
    with pytest.raises(DamagedCheckpointError, match="3 is damaged"):
        load_params(path, like().params)
    load_params(path, like().params, step=2)


def test_half_written_and_half_deleted_ones_are_removed(path):
    (path / "4.orbax-checkpoint-tmp").mkdir()
    shutil.rmtree(path / "1" / "manifest")
    with Checkpoints(path, keep=2) as checkpoints:
        state, _, damaged = checkpoints.resume(like())
        assert (state.step, damaged) == (3, {})
        checkpoints.save(state_at(4), {})
    assert sorted(folder.name for folder in path.iterdir()) == ["3", "4"]
    assert not path.with_name("damaged_checkpoints").exists()


def test_one_with_an_unreadable_manifest_might_be_the_best_and_is_kept(path):
    (path / "1" / "manifest" / "metadata").write_text("{")
    with pytest.raises(DamagedCheckpointError, match="1 is damaged: its metrics"):
        load_params(path, like().params)
    load_params(path, like().params, step=3)
    with Checkpoints(path, keep=1) as checkpoints:
        assert checkpoints.resume(like())[2] == {}
        checkpoints.save(state_at(4), {})
    assert sorted(folder.name for folder in path.iterdir()) == ["1", "3", "4"]
    assert array_files(path / "1")


def test_what_a_trainer_is_deleting_does_not_keep_others_from_being_read(path):
    shutil.rmtree(path / "1" / "manifest")
    (path / "2" / "manifest" / "metadata").unlink()
    for step in (None, 3):
        loaded = load_params(path, like().params, step=step)
        np.testing.assert_array_equal(loaded["table"], states()[2].averages["table"])
    assert (path / "1").is_dir()


def test_the_best_one_may_be_replaced_while_it_is_read(path, monkeypatch):
    whole = checkpoints_module._read

    def replaced_first(place, like):
        if place.name == "3":
            shutil.rmtree(place)
        return whole(place, like)

    monkeypatch.setattr(checkpoints_module, "_read", replaced_first)
    best = load_params(path, like().params)
    np.testing.assert_array_equal(best["table"], states()[1].averages["table"])


def test_one_that_may_not_be_read_is_not_called_damaged(path, monkeypatch):
    def forbidden(place, arguments):
        raise ValueError("PERMISSION_DENIED: Error opening local file")

    monkeypatch.setattr(checkpoints_module, "_restore", forbidden)
    with Checkpoints(path) as checkpoints, pytest.raises(ValueError, match="^PERMISS"):
        checkpoints.resume(like())
    assert not path.with_name("damaged_checkpoints").exists()


def test_another_model_or_a_later_format_is_not_damage(path, monkeypatch):
    by = r"3, written by attention_jax \S+, has"
    other = rf"{by} other params: table is float32\[6,6\], and should be float32\[7,7\]"
    with (
        Checkpoints(path) as checkpoints,
        pytest.raises(IncompatibleCheckpointError, match=other),
    ):
        checkpoints.resume(like(vocabulary=7))
    monkeypatch.setattr(checkpoints_module, "FORMAT", 0)
    with (
        Checkpoints(path) as checkpoints,
        pytest.raises(IncompatibleCheckpointError, match=f"{by} format 2; .* reads 0"),
    ):
        checkpoints.resume(like())


WRITER = """
import jax, numpy as np, sys, pathlib
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.step import TrainState
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), keep=2)
for step in range(1, 10_000):
    table = np.full((1000, 1000), step, np.float32)
    state = TrainState(np.int32(step), {"table": table}, {"table": table})
    checkpoints.save(state, {"minutes": step}, dev_loss=float(step))
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
            assert progress["minutes"] == step
    assert not [name for name in os.listdir(path) if "tmp" in name]


FULL = """
import pathlib, resource, sys
import numpy as np
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.step import TrainState

def state(step):
    # As many arrays as a model has: the writes of the others are under way when one fails.
    random = np.random.default_rng(step)
    params = {f"w{i}": random.random((100, 100), np.float32) for i in range(20)}
    return TrainState(np.int32(step), params, params)

try:
    with Checkpoints(pathlib.Path(sys.argv[1])) as checkpoints:
        checkpoints.save(state(1), {}, dev_loss=1.0)
        checkpoints._manager.wait_until_finished()
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
        checkpoints.save(state(2), {}, dev_loss=0.5)
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
    checkpoints._manager, checkpoints._saving = FullManager(), 5
    return checkpoints


def test_the_last_write_failing_is_an_error_on_leaving(full, caplog):
    message = "^cannot write checkpoint 5 into .*: No space left on device$"
    with pytest.raises(OSError, match=message), full:
        pass
    # A full disk is reported once.
    with pytest.raises(OSError, match="^first$"), full:
        raise OSError("first")
    assert caplog.text == ""
    # What ended the work is not hidden by a write that failed too.
    with pytest.raises(KeyboardInterrupt), full:
        raise KeyboardInterrupt
    assert "cannot write checkpoint 5" in caplog.text


TREE = {"a": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, "n": np.int32(3)}


def test_a_digest_depends_on_every_bit_type_shape_and_name_alone():
    flipped = TREE["a"]["w"].copy()
    flipped.view(np.uint8).reshape(-1)[7] ^= 1
    others = [
        {"a": {"w": flipped}, "n": np.int32(3)},
        {"a": {"w": TREE["a"]["w"].reshape(3, 2)}, "n": np.int32(3)},
        {"a": {"w": TREE["a"]["w"].view(np.int32)}, "n": np.int32(3)},
        {"a": {"v": TREE["a"]["w"]}, "n": np.int32(3)},
        {"a": {"w": TREE["a"]["w"]}, "n": np.int32(4)},
    ]
    assert len({tree_digest(tree) for tree in [TREE, *others]}) == 6
    on_device = {"a": {"w": jnp.asarray(TREE["a"]["w"])}, "n": jnp.asarray(3)}
    transposed = {"a": {"w": np.asfortranarray(TREE["a"]["w"])}, "n": np.int32(3)}
    assert tree_digest(on_device) == tree_digest(TREE) == tree_digest(transposed)
    assert tree_shapes(TREE) == {"a/w": "float32[2,3]", "n": "int32[]"}
    assert tree_shapes({"b": jnp.zeros(2, jnp.bfloat16)}) == {"b": "bfloat16[2]"}
    assert json_digest({"a": 1.5, "b": 2}) == json_digest({"b": 2, "a": 1.5})
    assert json_digest({"a": 1.5}) != json_digest({"a": 1.25})
