"""Checks score functions: does each keep what attention, training and benchmarks rely on.

    python -m experiments.check_score mine.py:manhattan
    python -m experiments.check_score my_package.my_module:my_score additive --output=FILE.json

A score is a registered name, FILE.py:FUNCTION or MODULE:FUNCTION. For each it prints a table
of what was found and what to do about it; --list prints what is checked. Exit status: 0 if no
check failed, 1 if one did, 2 for a mistake on the command line or a score that is not there.
"""

import pathlib
import sys
import types
from typing import Any

from absl import flags

from attention_jax.atomic_write import write_json
from attention_jax.errors import UserError, named, unknown_name
from attention_jax.functions.score import get_score
from attention_jax.testing.check_score import check_score
from attention_jax.testing.checks import CHECKS, check_names
from experiments import cli
from experiments.outputs import check_files, print_table

SIZES = {
    "query_size": "Q, for a score that needs a certain one.",
    "key_size": "K; of the two, one that is not given is the other's.",
    "alignment_size": "A.",
    "value_size": "V.",
}

POSITIONAL = "REFERENCE..."


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    given: dict[str, Any] = {"flag_values": flag_values}
    for name, text in SIZES.items():
        flags.DEFINE_integer(name, None, text, lower_bound=1, **given)
    text = "Only these, and what they need; --list names them."
    flags.DEFINE_list("checks", [], text, **given)
    bounds = {"lower_bound": 0, "upper_bound": 2**32 - 1}
    flags.DEFINE_integer("seed", 0, "Of the arrays.", **bounds, **given)
    flags.DEFINE_string("output", None, "A JSON file for the reports.", **given)
    flags.DEFINE_boolean("list", False, "Print what is checked and stop.", **given)


def main(arguments: types.SimpleNamespace) -> int:
    """Checks, prints and writes."""
    if arguments.list:
        print_table("checks", [(check.name, check.promise) for check in CHECKS])
        return 0
    references = arguments.positional
    if not references:
        raise UserError(
            "name a score: a registered name, FILE.py:FUNCTION or MODULE:FUNCTION"
        )
    files = {reference: reference.rpartition(":")[0] for reference in references}
    check_files(arguments, "output", read=files)
    for name in arguments.checks:
        if name not in check_names():
            raise unknown_name("check", name, check_names())
    for reference in references:
        with named(reference):
            get_score(reference)
    options = {name: getattr(arguments, name) for name in (*SIZES, "seed")}
    options["checks"] = arguments.checks or None
    reports = []
    for reference in references:
        report = check_score(reference, **options)
        reports.append({"reference": reference, **report.to_dict()})
        print_table(report.summary, report.rows())
        if report.failed:
            first = report.failed[0]
            print(f"Next, for `{first.name}`: {first.advice}.")
        print()
    if arguments.output:
        write_json(pathlib.Path(arguments.output), reports)
        print(f"wrote {arguments.output}")
    return 0 if all(report["ok"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, positional=POSITIONAL))
