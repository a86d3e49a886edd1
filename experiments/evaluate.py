"""Measures a run on one of its splits: BLEU, chrF, exact match, attention, speed.

python -m experiments.evaluate --workdir=runs/cldr --split=test --output=cldr.json
"""

import sys
import types

from absl import flags

from experiments import command_line, run_flags
from experiments.arguments import check_output
from experiments.table import print_table


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_workdir(flag_values)
    run_flags.define_split(flag_values)
    flags.DEFINE_integer(
        "max_sentences",
        0,
        "Only the first so many; 0 takes all.",
        lower_bound=0,
        flag_values=flag_values,
    )
    run_flags.define_checkpoint(flag_values)
    flags.DEFINE_string(
        "output", None, "A JSON file for the figures.", flag_values=flag_values
    )


def main(arguments: types.SimpleNamespace) -> None:
    """Prints the table and writes the file."""
    output = check_output(arguments.output)
    from attention_jax.evaluation import held_out, report
    from attention_jax.run import load_run
    from attention_jax.training.json_files import write_json
    from attention_jax.training.run_directory import RunDirectory

    run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
    directory = RunDirectory(arguments.workdir)
    pairs = held_out.load_split(
        directory, arguments.split, max_sentences=arguments.max_sentences
    )
    evaluation = held_out.evaluate(run, pairs)
    facts = {
        "split": arguments.split,
        "checkpoint": arguments.checkpoint,
        **held_out.provenance(directory, run),
    }
    print_table(
        report.rows(evaluation, facts),
        title=f"{arguments.workdir}, {arguments.split}, {len(pairs):,} sentences",
    )
    if output:
        write_json(output, {**evaluation.to_dict(), **facts})
        print(f"wrote {output}")


if __name__ == "__main__":
    sys.exit(command_line.run(main, define_flags, required=("workdir",)))
