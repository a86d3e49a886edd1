import os
import pathlib
import signal
import subprocess
import sys

import pytest

from attention_jax.training.lock import WorkdirInUseError, sole_trainer

ROOT = pathlib.Path(__file__).parents[2]
HOLDER = """
import pathlib, sys, time
from attention_jax.training.lock import sole_trainer
with sole_trainer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    path = tmp_path / "train.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        message = f"trained in by process {holder.pid} on .*; wait"
        with pytest.raises(WorkdirInUseError, match=message), sole_trainer(path):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with sole_trainer(path):
        assert f"process {os.getpid()} " in path.read_text()


def test_it_is_free_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), sole_trainer(tmp_path / "lock"):
            1 / 0  # noqa: B018


def test_a_file_system_without_locks_is_warned_about(tmp_path, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with sole_trainer(tmp_path / "lock"):
        pass
    assert "cannot be locked: Operation not supported" in caplog.text
