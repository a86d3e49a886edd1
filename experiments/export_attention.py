"""Writes a run's attention to an .npz file.

    python -m experiments.export_attention --workdir=runs/tatoeba --split=test \\
        --output=attention.npz

docs/report.md has the layout, and how to read it without this package.
"""

import sys
import types

from absl import flags

from attention_jax import evaluation
from attention_jax.errors import named
from attention_jax.training.run_directory import RunDirectory
from experiments import cli, run_flags
from experiments.outputs import check_files


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_run(flag_values)
    run_flags.define_sentences(flag_values, number=0)
    flags.DEFINE_string("output", None, "The .npz file.", flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Writes the file."""
    run_flags.check_sentences(arguments)
    read, output = {"input": arguments.input}, arguments.output
    check_files(arguments, "output", read=read, runs=[arguments.workdir])
    with named("--output"):
        evaluation.attention_files.check_suffix(output)
    run = run_flags.load_run(arguments)
    pairs = run_flags.pairs_of(run, arguments)
    found = run_flags.translations_of(run, arguments, pairs)
    directory = RunDirectory(arguments.workdir)
    asked = {name: getattr(arguments, name) for name in ("split", "checkpoint")}
    facts = evaluation.evaluate.provenance(directory, run, **asked)
    sources = [pair.source for pair in pairs]
    evaluation.attention_files.save_attention(output, sources, found, facts=facts)
    print(f"wrote {output}, {len(found):,} sentences")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir", "output")))
