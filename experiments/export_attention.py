"""Writes a run's attention to an .npz file.

    python -m experiments.export_attention --workdir=runs/tatoeba --split=test \\
        --output=attention.npz

docs/report.md has the layout, and how to read it without this package.
"""

import pathlib
import sys
import types

from absl import flags

import attention_jax
from attention_jax import evaluation
from attention_jax.errors import named
from attention_jax.training.run_directory import RunDirectory
from experiments import cli, run_flags, sentence_flags
from experiments.outputs import check_apart, check_output


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_workdir(flag_values)
    run_flags.define_checkpoint(flag_values)
    sentence_flags.define_sentences(flag_values, number=0)
    flags.DEFINE_string("output", None, "The .npz file.", flag_values=flag_values)
    run_flags.define_search(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Writes the file."""
    sentence_flags.check_sentences(arguments)
    check_output(arguments.output)
    written = {"output": arguments.output}
    check_apart(written, read={"input": arguments.input}, runs=[arguments.workdir])
    output = pathlib.Path(arguments.output)
    with named("--output"):
        evaluation.attention_files.check_suffix(output)
    run = attention_jax.load_run(arguments.workdir, checkpoint=arguments.checkpoint)
    run = run_flags.with_search(run, arguments)
    pairs = sentence_flags.pairs_of(run, arguments)
    found = sentence_flags.translations_of(run, arguments, pairs)
    facts = evaluation.evaluate.provenance(
        RunDirectory(arguments.workdir),
        run,
        split=arguments.split,
        checkpoint=arguments.checkpoint,
    )
    sources = [pair.source for pair in pairs]
    evaluation.attention_files.save_attention(output, sources, found, facts=facts)
    print(f"wrote {output}, {len(found):,} sentences")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir", "output")))
