"""One run on several devices, and on several processes: the same losses."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from attention_jax.atomic_write import read_lines
from attention_jax.experiment import run_experiment
from attention_jax.training import RunDirectory
from attention_jax.training.sharding import make_sharding
from experiments.cli import load_config
from tests.experiments.train_test import TINY

ROOT = pathlib.Path(__file__).parents[2]
PARALLEL = TINY.replace("steps=40,", "steps=40, data_parallel=True,")


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / "parallel.py"
    path.write_text(PARALLEL)
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The processes compile the same functions; once is enough."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The losses of the same run on one device, not spread."""
    path = tmp_path_factory.mktemp("alone")
    (path / "tiny.py").write_text(TINY)
    run_experiment(load_config(str(path / "tiny.py")), path / "run")
    return losses(path / "run")


def losses(workdir):
    rows = read_lines(RunDirectory(workdir).metrics_path)
    return [(row["event"], row["step"], row["loss"]) for row in rows]


def assert_same(found, expected):
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    np.testing.assert_allclose(
        [row[2] for row in found], [row[2] for row in expected], rtol=2e-4
    )


def command(config_file, workdir, *flags):
    return [
        sys.executable,
        "-m",
        "experiments.train",
        f"--config={config_file}",
        f"--workdir={workdir}",
        *flags,
    ]


FULL = pytest.mark.full


@pytest.mark.parametrize(
    "devices", [*(pytest.param(n, marks=FULL) for n in (1, 2, 4)), 8]
)
def test_virtual_devices_give_the_losses_of_one(
    alone, config_file, environment, tmp_path, devices
):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = environment | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    }
    done = subprocess.run(
        command(config_file, tmp_path / "run"),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [session] = RunDirectory(tmp_path / "run").load_record()["sessions"]
    assert session["device"] == f"cpu x{devices}"
    assert_same(losses(tmp_path / "run"), alone)


def start_both(config_file, workdir, environment):
    """Two processes that train together; the second one's stderr is kept too."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            command(
                config_file,
                workdir,
                f"--coordinator=localhost:{port}",
                "--num_processes=2",
                f"--process_id={number}",
            ),
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def test_two_processes_train_together_and_one_goes_on_alone(
    alone, config_file, environment, tmp_path
):
    workdir = tmp_path / "run"
    both = start_both(config_file, workdir, environment)
    first = RunDirectory(workdir).checkpoints_path / "10"
    while not first.exists() and all(one.poll() is None for one in both):
        time.sleep(0.01)
    for one in both:
        one.send_signal(signal.SIGKILL)
    errors = [one.communicate()[1] for one in both]
    assert first.exists(), "\n".join(errors)
    done = subprocess.run(
        command(config_file, workdir),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    together, by_one = RunDirectory(workdir).load_record()["sessions"]
    assert together["device"] == "cpu x2"
    assert by_one["device"] == "cpu x1"
    assert 10 <= by_one["first_step"] < 40
    assert_same(losses(workdir), alone)
    # Only the first process shows anything.
    assert "data: 100 training" in errors[0]
    assert "data: 100 training" not in errors[1]


@FULL
def test_two_processes_finish(alone, config_file, environment, tmp_path):
    both = start_both(config_file, tmp_path / "run", environment)
    errors = [one.communicate(timeout=240)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], "\n".join(errors)
    assert_same(losses(tmp_path / "run"), alone)


def test_a_batch_that_does_not_divide_is_refused(config_file, monkeypatch):
    training = load_config(str(config_file)).training
    monkeypatch.setattr("jax.devices", lambda: [None] * 3)
    with pytest.raises(ValueError, match="multiple of the number of devices, 3, .* 16"):
        make_sharding(training)


def test_processes_that_would_share_nothing_are_refused(config_file, monkeypatch):
    training = load_config(str(config_file)).training
    training.data_parallel = False
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match="2 processes need config.training.data_par"):
        make_sharding(training)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coordinator=a:1"], "belong together; got a:1, None and None"),
        (
            ["--coordinator=nonsense", "--num_processes=2", "--process_id=0"],
            "belong together; got nonsense, 2 and 0",
        ),
    ],
)
def test_flags_that_do_not_fit_are_one_line(config_file, tmp_path, flags, message):
    done = subprocess.run(
        command(config_file, tmp_path / "run", *flags),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
