"""Compares trained runs: a table, one row a run, and a figure of their learning curves.

    python -m experiments.compare_runs runs/dot runs/additive
    python -m experiments.compare_runs runs/compare_scores --metric=dev_bleu --figure=curves.png

A directory that holds runs, a sweep's say, stands for all of them. Of their configurations
only the fields in which they differ are shown. Runs that differ in the seed alone get a row
with mean ± sample standard deviation. The figures are those on the dev set, which training
has written down; `evaluate` and `sweep` measure on the test set.
"""

import sys
import types

from absl import flags

from attention_jax import evaluation
from attention_jax.atomic_write import write_json
from attention_jax.errors import UserError
from experiments import cli
from experiments.outputs import check_apart, check_output, check_picture, print_table

# What the arguments without a dash are.
POSITIONAL = "DIR..."


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    for name, text in (
        ("figure", "Learning curves: a .png, .pdf or .svg file."),
        ("output", "A JSON file for the figures."),
        ("metric", "Sort by it, best first, e.g. dev_bleu; a wrong one lists all."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Prints the table, draws the figure and writes the file."""
    output = check_output(arguments.output)
    if not arguments.positional or "" in arguments.positional:
        raise UserError("name the directories of runs: DIR DIR ...")
    if arguments.figure is not None:
        check_picture(arguments.figure)
    comparison = evaluation.compare.compare_runs(
        arguments.positional, metric=arguments.metric
    )
    check_apart(
        {"output": arguments.output, "figure": arguments.figure},
        runs=[run.path for run in comparison.runs],
    )
    table = evaluation.tables.dev_table(comparison)
    print_table(table.rows, head=table.head, title=table.title)
    for line in table.notes:
        print(line)
    if arguments.figure is not None:
        evaluation.curves.plot_learning_curves(comparison.runs, path=arguments.figure)
        print(f"wrote {arguments.figure}")
    if output:
        write_json(output, comparison.to_dict())
        print(f"wrote {output}")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, positional=POSITIONAL))
