"""Twenty SIGKILLs at random moments, and the run ends as if nothing had happened."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import chex
import pytest

from attention_jax.experiment import run_experiment
from attention_jax.training import RunDirectory
from experiments.cli import load_config
from tests.experiments.train_test import TINY, last_state, measured

ROOT = pathlib.Path(__file__).parents[2]
KILLS = 20
# Checkpoints follow one another so closely that many a kill hits one being written.
OFTEN = TINY.replace("steps=40,", "steps=1_500, ema_decay=0.9,")
OFTEN = OFTEN.replace("eval_every=20,", "eval_every=100,")
OFTEN = OFTEN.replace("checkpoint_every=5", "checkpoint_every=10")


@pytest.mark.full
def test_twenty_kills_change_nothing(tmp_path):
    config_file, workdir = tmp_path / "often.py", tmp_path / "killed"
    config_file.write_text(OFTEN)
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def command(workdir):
        program = [sys.executable, "-m", "experiments.train"]
        return [*program, f"--config={config_file}", f"--workdir={workdir}"]

    # The undisturbed run first: what it compiles is kept, and the others soon get going.
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(command(undisturbed), cwd=ROOT, env=environment, check=True)
    moments, during_a_write = random.Random(0), 0
    for _ in range(KILLS):
        with subprocess.Popen(
            command(workdir),
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            # After some lines of the log, in the middle of whatever comes next.
            seen, wanted = 0, moments.randint(2, 7)
            while seen < wanted:
                line = process.stderr.readline()
                assert line, "it ended before it could be killed"
                seen += line.startswith("step ")
            time.sleep(moments.uniform(0.0, 0.05))
            os.kill(process.pid, signal.SIGKILL)
        folder = RunDirectory(workdir).checkpoints_path
        during_a_write += any("tmp" in found.name for found in folder.glob("*"))
    assert run_experiment(load_config(str(config_file)), workdir).finished
    chex.assert_trees_all_equal(last_state(workdir), last_state(undisturbed))
    assert measured(workdir) == measured(undisturbed)
    sessions = RunDirectory(workdir).load_record()["sessions"]
    assert len(sessions) == KILLS + 1
    resumed_from = {session["first_step"] for session in sessions}
    assert len(resumed_from) > KILLS // 2
    assert during_a_write >= 1
