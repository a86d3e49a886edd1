"""Compares trained runs: a table, one row a run, and a figure of how they learnt.

    python -m experiments.compare_runs runs/dot runs/additive
    python -m experiments.compare_runs runs/compare_scores --metric=dev_bleu --figure=curves.png

A directory that holds runs, a sweep's say, stands for all of them. Of their configurations
only the fields in which they differ are shown. Runs that differ in the seed alone get a row
with mean ± sample standard deviation. The figures are those on the dev set, which training
has written down; `evaluate` and `sweep` measure on the test set.
"""

import sys
import types
from typing import TYPE_CHECKING, Any

from absl import flags

from attention_jax.errors import UserError
from experiments import cli
from experiments.outputs import check_apart, check_output, check_picture
from experiments.tables import print_table

if TYPE_CHECKING:
    from attention_jax.evaluation.run_comparison import Comparison

# What the arguments without a dash are.
POSITIONAL = "DIR..."

# Columns of differing fields; what is more is counted below the table.
MOST_FIELDS = 5

# (metric, head of its column, format)
COLUMNS = (
    ("minutes", "minutes", "{:.1f}"),
    ("dev_loss", "dev loss", "{:.4f}"),
    ("dev_bleu", "BLEU", "{:.2f}"),
    ("last_dev_bleu", "last BLEU", "{:.2f}"),
    ("exact_match", "exact %", "{:.1f}"),
    ("tokens_per_second", "tokens/s", "{:,.0f}"),
)


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    for name, text in (
        ("figure", "Learning curves: a .png, .pdf or .svg file."),
        ("output", "A JSON file for the figures."),
        (
            "metric",
            "Sort by it, best first: " + ", ".join(m for m, _, _ in COLUMNS) + ".",
        ),
    ):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)
    flags.DEFINE_enum(
        "against",
        "steps",
        ["steps", "minutes"],
        "What the figure's curves are drawn against.",
        flag_values=flag_values,
    )


def main(arguments: types.SimpleNamespace) -> None:
    """Prints the table, draws the figure and writes the file."""
    output = check_output(arguments.output)
    if not arguments.positional:
        raise UserError("name runs: DIR DIR ...")
    if "" in arguments.positional:
        raise UserError("a run's directory is empty: name runs: DIR DIR ...")
    from attention_jax.atomic_write import write_json
    from attention_jax.errors import unknown_name
    from attention_jax.evaluation.learning_curves import plot_learning_curves
    from attention_jax.evaluation.run_comparison import (
        METRICS,
        compare_runs,
        sort_runs,
    )

    if arguments.figure is not None:
        check_picture(arguments.figure)
    written = {"output": arguments.output, "figure": arguments.figure}
    if arguments.metric is not None and arguments.metric not in METRICS:
        known = unknown_name("metric", arguments.metric, METRICS)
        raise UserError(f"--metric: {known}")
    comparison = compare_runs(arguments.positional)
    check_apart(written, runs=[run.path for run in comparison.runs])
    if arguments.metric is not None:
        comparison = sort_runs(comparison, arguments.metric)
    head, rows = table(comparison)
    print_table(rows, head=head, title=f"{len(comparison.runs)} runs, on dev")
    for line in remarks(comparison):
        print(line)
    if arguments.figure is not None:
        plot_learning_curves(
            comparison.runs, against=arguments.against, path=arguments.figure
        )
        print(f"wrote {arguments.figure}")
    if output:
        write_json(output, comparison.to_dict())
        print(f"wrote {output}")


def table(comparison: "Comparison") -> tuple[list[str], list[list[str]]]:
    """The head and the rows: runs in order, then groups of seeds."""
    from attention_jax.evaluation.config_variation import brief_fields

    fields = comparison.fields[:MOST_FIELDS]
    brief = brief_fields(comparison.fields)
    head = ["run", *(brief[name] for name in fields), "parameters", "steps"]
    head += [title for _, title, _ in COLUMNS] + ["notes"]
    columns = [_values(comparison, name) for name in fields]
    rows = []
    for number, run in enumerate(comparison.runs):
        figures = [_figure(getattr(run, name), pattern) for name, _, pattern in COLUMNS]
        rows.append(
            [
                run.name,
                *(column[number] for column in columns),
                _figure(run.parameters, "{:,}"),
                f"{run.step:,}",
                *figures,
                "; ".join(run.notes),
            ]
        )
    names = [run.name for run in comparison.runs]
    for group in comparison.groups:
        # Any member has the group's values; only the seed is each run's own.
        member = names.index(group.names[0])
        settings = [
            "–" if name == "seed" else column[member]
            for name, column in zip(fields, columns, strict=True)
        ]
        figures = [
            f"{_figure(group.mean[name], pattern)} ± {pattern.format(group.deviation[name])}"
            if name in group.mean
            else "–"
            for name, _, pattern in COLUMNS
        ]
        left_out = f"; {group.left_out} left out" * bool(group.left_out)
        rows.append(
            [
                f"mean of {len(group.names)}",
                *settings,
                _figure(group.parameters, "{:,}"),
                "–",
                *figures,
                f"seeds {', '.join(map(str, group.seeds))}{left_out}",
            ]
        )
    return head, rows


def remarks(comparison: "Comparison") -> list[str]:
    """What stands below the table."""
    lines = []
    more = comparison.fields[MOST_FIELDS:]
    if more:
        fields = "field differs" if len(more) == 1 else "fields differ"
        lines.append(f"{len(more)} more {fields}: {', '.join(more)}")
    by_split: dict[str, list[str]] = {}
    for run in comparison.runs:
        if run.split_hash:
            by_split.setdefault(run.split_hash, []).append(run.name)
    if len(by_split) > 1:
        splits = "; ".join(
            f"{split[:12]}: {', '.join(names)}" for split, names in by_split.items()
        )
        lines.append(f"other splits, and perhaps other dev sentences: {splits}")
    if comparison.groups:
        lines.append(
            "± is the sample standard deviation over seeds, one finished run each"
        )
    return lines


def _values(comparison: "Comparison", field: str) -> list[str]:
    """One field's value in each run."""
    from attention_jax.evaluation.config_variation import brief_values

    # "–": the run's configuration cannot be read.
    return brief_values([run.config.get(field, "–") for run in comparison.runs])


def _figure(value: Any, pattern: str) -> str:
    return "–" if value is None else pattern.format(value)


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, positional=POSITIONAL))
