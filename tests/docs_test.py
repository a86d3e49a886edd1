"""Every example in the documentation runs."""

import re
import shlex
import sys
from importlib import import_module

import jax
import pytest
from absl import flags

from attention_jax.experiment import validate
from experiments import cli
from experiments.cli import load_configs
from tests.markdown import ROOT, blocks, commands

PAGES = ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), 1):
        code = compile(block, f"{page}, block {number}", "exec")
        # With the modes that a user has: optax promotes dtypes.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            exec(code, namespace)  # noqa: S102 - our own pages


@pytest.mark.parametrize(
    "command",
    sorted({c for page in [*PAGES, "experiments/README.md"] for c in commands(page)}),
)
def test_commands_parse(command, monkeypatch):
    """Program, flags and config fields exist; nothing is run."""
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.split("-m ", 1)[1], comments=True)
    words = words[: words.index("<")] if "<" in words else words
    module = import_module(words[0])
    # A user's own file does not exist here; the built-in score stands in for it.
    argv = [words[0], *(re.sub(r"mine\.py:\w+", "dot", w) for w in words[1:])]
    values = flags.FlagValues()
    module.define_flags(values)
    has_config = any(word.startswith("--config=") for word in argv)
    positional = getattr(module, "POSITIONAL", "")
    parsed = cli.parse(argv, values, positional=positional)
    assert bool(parsed.positional) == bool(positional)
    if has_config:
        configs = load_configs(parsed.config, vars(parsed))
        for config in configs.values() if isinstance(configs, dict) else configs:
            validate(config)
    assert sys.modules[words[0]].main
