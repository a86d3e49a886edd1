import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
from experiments.compilation_cache import keep_compiled
keep_compiled()
import jax
jax.monitoring.register_event_listener(
    lambda event, **_: print(event.rpartition("/")[2]) if "cache_hit" in event else None
)
jax.jit(lambda x: x * 3 + 1)(2.0)
print(jax.config.jax_compilation_cache_dir)
"""


def run(**variables):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_CACHE", "_CACHE_DIR", "_TIME_SECS"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "attention_jax" / "compiled"
    assert run(XDG_CACHE_HOME=str(tmp_path)) == [str(folder)]
    assert list(folder.iterdir())
    again = run(XDG_CACHE_HOME=str(tmp_path))
    assert "cache_hits" in again
    assert again[-1] == str(folder)


def test_it_is_beside_the_downloads(tmp_path):
    assert run(ATTENTION_JAX_CACHE=str(tmp_path))[-1] == str(tmp_path / "compiled")


def test_the_users_own_folder_is_left_to_be(tmp_path):
    own = str(tmp_path / "own")
    found = run(JAX_COMPILATION_CACHE_DIR=own, XDG_CACHE_HOME=str(tmp_path))
    assert found[-1] == own
    assert not (tmp_path / "attention_jax").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_left_out(tmp_path):
    tmp_path.chmod(0o500)
    assert run(XDG_CACHE_HOME=str(tmp_path)) == ["None"]
