"""JoeyNMT as a toolkit to translate beside: in a process and an environment of its own."""

import json
import os
import re
import subprocess
from collections.abc import Sequence

from attention_jax.benchmarking.decoding_speed import Peer, Timed
from attention_jax.config import DecodingConfig

_SECONDS = re.compile(r"Generation took ([\d.]+)\[sec\]")
_PARAMETERS = re.compile(r"Total params: (\d+)")
_VERSIONS = "import joeynmt, torch; print(joeynmt.__version__, torch.__version__)"
# What `joeynmt translate` does, with other values under `testing`.
_TRANSLATE = """
import json, logging, pathlib, sys
from joeynmt.config import load_config
from joeynmt.prediction import translate
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
config = load_config(pathlib.Path(sys.argv[1]))
config["testing"] |= json.loads(sys.argv[2])
translate(config)
"""


def joeynmt_peer(
    python: str | os.PathLike[str], config: str | os.PathLike[str]
) -> Peer:
    """A trained JoeyNMT model.

    Its time is what it says itself, "Generation took": without starting and loading.

    Args:
      python: the interpreter of the environment with JoeyNMT.
      config: its configuration file, whose `model_dir` has been trained.

    Raises:
      OSError: there is no such interpreter.
      RuntimeError: JoeyNMT cannot be imported or cannot translate a word; says why.
    """
    version, torch = _run([str(python), "-c", _VERSIONS]).stdout.split()
    command = [str(python), "-c", _TRANSLATE, str(config)]

    def translate(lines: Sequence[str], decoding: DecodingConfig) -> Timed:
        done = _translate(command, lines, decoding)
        words = sum(len(line.split()) + 1 for line in done.stdout.splitlines())
        return Timed(float(_find(_SECONDS, done)), words)

    probe = _translate(command, ["."], DecodingConfig())
    parameters = int(_find(_PARAMETERS, probe))
    return Peer("JoeyNMT", f"{version}, torch {torch}", translate, parameters)


def _translate(
    command: Sequence[str], lines: Sequence[str], decoding: DecodingConfig
) -> subprocess.CompletedProcess[str]:
    penalized = decoding.length_penalty == "gnmt"
    testing = {
        "beam_size": decoding.beam_size if decoding.search == "beam" else 1,
        # Its only length penalty is GNMT's; -1 is none.
        "beam_alpha": decoding.length_alpha if penalized else -1,
        "n_best": 1,
    }
    return _run([*command, json.dumps(testing)], "\n".join(lines) + "\n")


def _run(command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        reason = last[0] if last else f"exit status {done.returncode}"
        raise RuntimeError(f"JoeyNMT by {command[0]}: {reason}")
    return done


def _find(pattern: re.Pattern[str], done: subprocess.CompletedProcess[str]) -> str:
    found = pattern.search(done.stderr)
    if not found:
        raise RuntimeError(f"JoeyNMT did not say {pattern.pattern!r}")
    return found.group(1)
