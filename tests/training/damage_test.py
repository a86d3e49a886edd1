"""Checkpoints that are no longer what was written, or that another version wrote."""

import functools
import json
import shutil
import sys
import types

import chex
import jax
import numpy as np
import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training import checkpoint_reading as reading
from attention_jax.training import checkpoints as writing
from attention_jax.training.checkpoint_reading import (
    DamagedCheckpointError,
    IncompatibleCheckpointError,
    average_params,
    load_params,
    open_manager,
)
from attention_jax.training.checkpoints import Checkpoints, Progress
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.state import init_state
from attention_jax.training.step import make_train_step
from tests.training.fakes import bigram_model, random_batch

TRAINING = TrainingConfig(ema_decay=0.9)


def like(vocabulary=6):
    model = bigram_model(vocabulary)
    return init_state(model, make_optimizer(TRAINING), seed=0, training=TRAINING)


@functools.cache
def states():
    """After 1, 2 and 3 updates."""
    state, found = like(), []
    train_step = make_train_step(bigram_model(), make_optimizer(TRAINING), TRAINING)
    for step in range(3):
        state, _ = train_step(state, random_batch(step))
        found.append(jax.tree.map(np.array, state))
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "checkpoints"
    with Checkpoints(path) as checkpoints:
        for state in states():
            step = int(state.step)
            checkpoints.save(state, Progress(minutes=step / 3), dev_loss=1.0 / step)
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


def test_a_flipped_bit_is_found_or_harmless_wherever_it_is(written, tmp_path):
    random, found = np.random.default_rng(0), 0
    files = [f for f in (written / "3").rglob("*") if f.is_file() and f.stat().st_size]
    assert len(files) > 5
    for number, file in enumerate(files):
        copy = shutil.copytree(written, tmp_path / str(number))
        flip(
            copy / file.relative_to(written), int(random.integers(file.stat().st_size))
        )
        with Checkpoints(copy) as checkpoints:
            if 3 not in checkpoints.steps():
                # Kept aside, never lost.
                assert (copy.parent / "damaged_checkpoints").is_dir()
                shutil.rmtree(copy.parent / "damaged_checkpoints")
                found += 1
                continue
            try:
                state, progress = checkpoints.restore(3, like())
            except (DamagedCheckpointError, IncompatibleCheckpointError):
                found += 1
                continue
        chex.assert_trees_all_equal(state, states()[2])
        assert progress == Progress(minutes=1.0)
    # Many files are markers, or copies that are no longer read.
    assert found >= len(files) // 4


def test_the_last_whole_one_is_resumed_from_and_damaged_ones_are_named(path):
    for step in ("2", "3"):
        damage(path / step)
    with Checkpoints(path) as checkpoints:
        state, progress, skipped = checkpoints.resume(like())
        assert checkpoints.steps() == [1]
        chex.assert_trees_all_equal(state, states()[0])
        assert progress == Progress(minutes=1 / 3)
        assert [one.name for one in skipped] == ["3", "2"]
        assert all("is damaged" in one.reason for one in skipped)
        # Their steps can be written again.
        checkpoints.save(states()[1], Progress(), dev_loss=1.0)
    assert sorted(f.name for f in (path.parent / "damaged_checkpoints").iterdir()) == [
        "2",
        "3",
    ]
    with Checkpoints(path) as checkpoints:
        assert checkpoints.steps() == [1, 2]


def test_what_a_failed_read_left_hanging_is_kept_quiet_afterwards(path, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    damage(path / "3")
    with Checkpoints(path) as checkpoints:
        checkpoints.resume(like())
    late = types.SimpleNamespace(exc_value=RuntimeError("Event loop is closed"))
    bug = types.SimpleNamespace(exc_value=RuntimeError("a bug"))
    sys.unraisablehook(late)
    sys.unraisablehook(bug)
    assert told == [bug]


def test_a_missing_file_is_damage(path):
    for file in array_files(path / "3"):
        file.unlink()
    with Checkpoints(path) as checkpoints:
        assert checkpoints.resume(like()).state.step == 2


def test_an_empty_folder_is_damage(path):
    shutil.rmtree(path / "3" / "params")
    with Checkpoints(path) as checkpoints:
        assert checkpoints.resume(like()).state.step == 2


def test_nothing_whole_is_an_error_that_moves_nothing(path):
    for step in "123":
        damage(path / step)
    message = "no checkpoint in .* is whole: checkpoint .*3 is damaged"
    with (
        Checkpoints(path) as checkpoints,
        pytest.raises(DamagedCheckpointError, match=message),
    ):
        checkpoints.resume(like())
    assert not (path.parent / "damaged_checkpoints").exists()


def test_loading_a_damaged_one_lists_the_others(path):
    damage(path / "3" / "averages")
    message = r"3 is damaged.*; other checkpoints there: \[1, 2\]$"
    with pytest.raises(DamagedCheckpointError, match=message):
        load_params(path, like().params)
    load_params(path, like().params, step=2)


def test_half_written_ones_are_named_and_removed(path):
    (path / "4.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(path) as checkpoints:
        assert checkpoints.unfinished == ["4.orbax-checkpoint-tmp"]
        assert checkpoints.resume(like()).state.step == 3
    assert not (path / "4.orbax-checkpoint-tmp").exists()


def test_half_deleted_ones_are_named_and_removed(path):
    (path / "1" / "_CHECKPOINT_METADATA").unlink()
    with Checkpoints(path, keep=2) as checkpoints:
        assert checkpoints.unfinished == ["1"]
        found = checkpoints.resume(like())
        assert (found.state.step, found.skipped) == (3, [])
    assert not (path / "1").exists()
    assert not (path.parent / "damaged_checkpoints").exists()


@pytest.mark.parametrize("step", ["1", "2", "3"])
def test_one_with_unreadable_metrics_is_kept_aside_however_old(path, step):
    file = path / step / "metrics" / "metrics"
    file.write_text("{")
    with Checkpoints(path, keep=1) as checkpoints:
        assert checkpoints.unfinished == []
        found = checkpoints.resume(like())
    assert [one.name for one in found.skipped] == [step]
    aside = path.parent / "damaged_checkpoints" / step
    assert (aside / "metrics" / "metrics").read_text() == "{"
    assert array_files(aside)


def test_what_a_trainer_is_deleting_does_not_keep_others_from_being_read(path):
    (path / "1" / "_CHECKPOINT_METADATA").unlink()
    (path / "2" / "metrics" / "metrics").unlink()
    best = load_params(path, like().params)
    np.testing.assert_array_equal(best["table"], states()[2].averages["table"])
    last = load_params(path, like().params, step=3)
    np.testing.assert_array_equal(last["table"], states()[2].averages["table"])
    assert (path / "1").is_dir()


def test_damaged_metrics_of_another_do_not_keep_a_named_one_from_being_read(path):
    (path / "1" / "metrics" / "metrics").write_text("{")
    load_params(path, like().params, step=3)
    average_params(path, like().params, last=2)
    # It might be the best one.
    message = r"1 is damaged: its metrics.*; other checkpoints there: \[2, 3\]$"
    with pytest.raises(DamagedCheckpointError, match=message):
        load_params(path, like().params)


def test_the_best_one_may_be_replaced_while_it_is_read(path, monkeypatch):
    whole = reading.read_items

    def replaced_first(place, *args, **kwargs):
        if place.name == "3":
            shutil.rmtree(place)
        return whole(place, *args, **kwargs)

    monkeypatch.setattr(reading, "read_items", replaced_first)
    best = load_params(path, like().params)
    np.testing.assert_array_equal(best["table"], states()[1].averages["table"])


def test_another_model_is_told_from_damage(path):
    message = (
        r"3, written by attention_jax \S+, has other params: "
        r"table is float32\[6,6\], and should be float32\[7,7\]"
    )
    with (
        Checkpoints(path) as checkpoints,
        pytest.raises(IncompatibleCheckpointError, match=message),
    ):
        checkpoints.resume(like(vocabulary=7))


def test_a_later_format_says_which_version_wrote_it(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "FORMAT", 99)
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(states()[0], Progress(), dev_loss=1.0)
    message = r"written by attention_jax \S+, has format 99; this version reads 1"
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.raises(IncompatibleCheckpointError, match=message),
    ):
        checkpoints.resume(like())


def test_those_of_the_first_version_load(tmp_path):
    import orbax.checkpoint as ocp

    state = states()[1]
    old = {"minutes": 2.5, "best_loss": 0.5, "best_step": 1, "compilations": 4}
    with open_manager(tmp_path / "c", keep=3, best_by="loss") as manager:
        arguments = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            optimizer=ocp.args.StandardSave(state.opt_state),
            progress=ocp.args.JsonSave(old),
        )
        manager.save(2, args=arguments, metrics={"dev_loss": 0.5})
    plain = like()._replace(averages=None)
    with Checkpoints(tmp_path / "c") as checkpoints:
        restored, progress, _ = checkpoints.resume(plain)
        checkpoints.save(states()[2], Progress(), dev_loss=0.75)
    chex.assert_trees_all_equal(restored, state._replace(averages=None))
    assert progress == Progress(**old)
    # Best by the loss, whichever version measured it.
    best = load_params(tmp_path / "c", plain.params)
    np.testing.assert_array_equal(best["table"], state.params["table"])


def test_what_is_loaded_is_the_averages(path):
    loaded = load_params(path, like().params, step=2)
    np.testing.assert_array_equal(loaded["table"], states()[1].averages["table"])


@pytest.mark.parametrize("last", [1, 2, 3, 9])
def test_the_mean_of_the_last_ones(path, last):
    mean = average_params(path, like().params, last=last)
    tables = [np.asarray(s.averages["table"], np.float64) for s in states()[-last:]]
    np.testing.assert_allclose(mean["table"], np.mean(tables, axis=0), rtol=1e-6)
    assert mean["table"].dtype == np.float32


def test_metrics_that_cannot_be_read_are_damage(path):
    (path / "3" / "metrics" / "metrics").write_text('{"dev_loss": 0.3#}')
    with pytest.raises(
        DamagedCheckpointError, match="3 is damaged: its metrics or metadata"
    ):
        load_params(path, like().params)
    with Checkpoints(path) as checkpoints:
        state, _, skipped = checkpoints.resume(like())
    assert (state.step, [one.name for one in skipped]) == (2, ["3"])


def test_a_better_loss_by_a_flipped_bit_is_damage(path):
    file = path / "2" / "metrics" / "metrics"
    file.write_text(file.read_text().replace("0.5", "0.1"))
    with pytest.raises(DamagedCheckpointError, match="2 is damaged: its metrics"):
        load_params(path, like().params)


def test_the_manifest_is_readable(path):
    text = (path / "3" / "manifest" / "metadata").read_text()
    manifest = json.loads(text)
    assert manifest["shapes"]["params"] == {"table": "float32[6,6]"}
    assert set(manifest["digests"]) == {
        "params",
        "optimizer",
        "averages",
        "progress",
        "metrics",
    }
