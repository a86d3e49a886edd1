"""Compares trained runs: a table, one row a run, and a figure of their learning curves.

    python -m experiments.compare_runs runs/dot runs/additive
    python -m experiments.compare_runs runs/compare_scores --metric=dev_bleu --figure=curves.png

A directory that holds runs, a sweep's say, stands for all of them. Of their configurations
only the fields in which they differ are shown. Runs that differ in the seed alone get a row
with mean ± sample standard deviation. The figures are those on the dev set, which training
has written down; `evaluate` and `sweep` measure on the test set.
"""

import pathlib
import sys
import types

from absl import flags

from attention_jax import evaluation
from attention_jax.atomic_write import write_json
from attention_jax.errors import UserError
from experiments import cli
from experiments.outputs import check_files, print_table

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
    paths, output, figure = arguments.positional, arguments.output, arguments.figure
    if not paths or "" in paths:
        raise UserError("name the directories of runs: DIR DIR ...")
    check_files(arguments, "output", "figure", picture="figure")
    comparison = evaluation.compare.compare_runs(paths, metric=arguments.metric)
    runs = [run.path for run in comparison.runs]
    check_files(arguments, "output", "figure", runs=runs)
    print_table(*evaluation.tables.dev_table(comparison))
    if figure:
        evaluation.curves.plot_learning_curves(comparison.runs, path=figure)
        print(f"wrote {figure}")
    if output:
        write_json(pathlib.Path(output), comparison.to_dict())
        print(f"wrote {output}")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, positional=POSITIONAL))
