"""Writes what a run is, scores and attends to into one HTML file that opens anywhere.

    python -m experiments.report --workdir=runs/tatoeba --output=report.html

Learning curves, scores with signatures, BLEU by source length, every sentence with its
attention map, statistics, configuration, environment. The file needs no network.
"""

import sys
import types

from absl import flags

import attention_jax
from attention_jax import evaluation
from attention_jax.atomic_write import write_text
from attention_jax.errors import UserError
from attention_jax.training.run_directory import RunDirectory
from experiments import cli, run_flags
from experiments.gold_alignments import (
    GoldAlignments,
    check_alignments,
    define_alignments,
)
from experiments.outputs import check_apart, check_output


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_workdir(flag_values)
    run_flags.define_split(flag_values)
    run_flags.define_max_sentences(flag_values, 1_000)
    run_flags.define_checkpoint(flag_values)
    flags.DEFINE_string("output", None, "The .html file.", flag_values=flag_values)
    define_alignments(flag_values)
    run_flags.define_search(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Writes the file."""
    output = check_output(arguments.output)
    if output is None or output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output takes a .html file, got {arguments.output!r}")
    check_apart(
        {"output": arguments.output},
        read={"alignments": arguments.alignments},
        runs=[arguments.workdir],
    )
    run = attention_jax.load_run(arguments.workdir, checkpoint=arguments.checkpoint)
    run = run_flags.with_search(run, arguments)
    directory = RunDirectory(arguments.workdir)
    check_alignments(arguments, [directory])
    pairs = evaluation.evaluate.load_split(
        directory, arguments.split, max_sentences=arguments.max_sentences
    )
    found, facts = GoldAlignments(arguments, pairs).evaluate(directory, run)
    name = directory.path.name
    summary = evaluation.run_summary.summarize(directory.path, name=name)
    contents = evaluation.html_report.collect(run, summary, pairs, found, facts)
    write_text(output, evaluation.html_report.render(contents))
    print(f"wrote {output}, {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir", "output")))
