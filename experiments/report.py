"""Writes what a run is, scores and attends to into one HTML file that opens anywhere.

    python -m experiments.report --workdir=runs/tatoeba --output=report.html

Learning curves, scores with signatures, BLEU by source length, every sentence with its
attention map, statistics, configuration, environment. The file needs no network.
"""

import pathlib
import sys
import types

from absl import flags

from attention_jax import evaluation
from attention_jax.atomic_write import write_text
from attention_jax.errors import UserError
from attention_jax.training.run_directory import RunDirectory
from experiments import cli, run_flags
from experiments.outputs import check_files


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_run(flag_values)
    run_flags.define_split(flag_values, most=1_000)
    flags.DEFINE_string("output", None, "The .html file.", flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Writes the file."""
    output, directory = pathlib.Path(arguments.output), RunDirectory(arguments.workdir)
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output takes a .html file, got {arguments.output!r}")
    read = {"alignments": arguments.alignments}
    check_files(arguments, "output", read=read, runs=[arguments.workdir])
    run = run_flags.load_run(arguments)
    pairs = evaluation.evaluate.load_split(
        directory, arguments.split, max_sentences=arguments.max_sentences
    )
    gold = run_flags.read_gold(arguments, [directory], pairs)
    found, facts = run_flags.measure(arguments, directory, run, pairs, gold)
    name = directory.path.name
    summary = evaluation.compare.summarize(directory.path, name=name)
    contents = evaluation.html_report.collect(run, summary, pairs, found, facts)
    write_text(output, evaluation.html_report.render(contents))
    print(f"wrote {output}, {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir", "output")))
