"""Checks score functions: does each keep what attention, training and benchmarks rely on.

    python -m experiments.check_score mine.py:manhattan
    python -m experiments.check_score my_package.my_module:my_score additive --output=FILE.json

A score is a registered name, FILE.py:FUNCTION or MODULE:FUNCTION. For each it prints a table
of what was found and what to do about it; --list says what is checked. Exit status: 0 if no
check failed, 1 if one did, 2 for a mistake on the command line or a score that is not there.
"""

import sys
import textwrap
import types
from typing import TYPE_CHECKING

from absl import flags

from attention_jax.errors import UserError
from experiments import cli
from experiments.outputs import check_apart, check_output
from experiments.tables import print_table

if TYPE_CHECKING:
    from attention_jax.score_checking import ScoreReport

SIZES = (
    ("query_size", "Q, for a score that needs a certain one."),
    ("key_size", "K; of the two, one that is not given is the other's."),
    ("alignment_size", "A."),
    ("value_size", "V."),
)

# What the arguments without a dash are.
POSITIONAL = "REFERENCE..."


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    for name, text in SIZES:
        flags.DEFINE_integer(name, None, text, lower_bound=1, flag_values=flag_values)
    flags.DEFINE_list(
        "checks",
        [],
        "Only these, and what they need; --list names them.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "timing",
        True,
        "Time and memory beside `additive` at a model's sizes; --notiming is faster.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer("seed", 0, "Of the arrays.", flag_values=flag_values)
    flags.DEFINE_string(
        "output", None, "A JSON file for the reports.", flag_values=flag_values
    )
    flags.DEFINE_boolean(
        "list", False, "Say what is checked and stop.", flag_values=flag_values
    )


def main(arguments: types.SimpleNamespace) -> int:
    """Checks, prints and writes."""
    output = check_output(arguments.output)
    if arguments.list:
        print_checks()
        return 0
    if not arguments.positional:
        raise UserError(
            "name a score: a registered name, FILE.py:FUNCTION or MODULE:FUNCTION"
        )
    scores = {score: score.rpartition(":")[0] for score in arguments.positional}
    check_apart({"output": arguments.output}, read=scores)
    options = {name: getattr(arguments, name) for name, _ in SIZES}
    options |= {"timing": arguments.timing, "seed": arguments.seed}
    if arguments.checks:
        options["checks"] = arguments.checks
    check_references(arguments.positional, arguments.checks)

    from attention_jax import check_score

    reports = []
    for reference in arguments.positional:
        report = check_score(reference, **options)
        reports.append(report)
        print_table(report.rows(), title=report.summary)
        print(f"\n{what_next(report, reference)}\n")
    if output:
        from attention_jax.atomic_write import write_json

        pairs = zip(arguments.positional, reports, strict=True)
        write_json(output, [{"reference": r, **one.to_dict()} for r, one in pairs])
        print(f"wrote {output}")
    return 0 if all(report.ok for report in reports) else 1


def print_checks() -> None:
    """Every check and its promise."""
    from attention_jax.score_checking import CHECKS

    width = max(len(check.name) for check in CHECKS)
    for check in CHECKS:
        print(
            textwrap.fill(
                f"{check.name:{width}}  {check.promise}",
                width=88,
                subsequent_indent=" " * (width + 2),
            )
        )


def check_references(references: list[str], checks: list[str]) -> None:
    """Raises UserError unless every score, and every check, is there."""
    from attention_jax import get_score
    from attention_jax.errors import unknown_name
    from attention_jax.score_checking import check_names

    try:
        for name in checks:
            if name not in check_names():
                raise unknown_name("check", name, check_names())
        for reference in references:
            get_score(reference)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(str(error)) from error


def what_next(report: "ScoreReport", reference: str) -> str:
    """What to do now: about the first failure, or with a score that has none."""
    if report.failed:
        first = report.failed[0]
        return f"Next, for `{first.name}`: {first.advice}."
    return (
        "Next: train with it, python -m experiments.train "
        "--config=configs/cldr_zh_en.py --workdir=runs/NAME "
        f"--config.model.score={reference}"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, positional=POSITIONAL))
