"""Times attention: workloads x scores x normalisers x implementations x passes x dtypes.

    python -m experiments.benchmark_attention --workloads=dot_1024,decode --output=FILE.json

Every candidate's results are checked before it is timed; exit status 1 if one of ours is
wrong or fails. Candidates take turns, so that other load on the machine affects all of them;
figures still mean most when nothing else runs. The file is complete after every case.
--input=FILE.json prints the table of a result instead of measuring.
"""

import math
import pathlib
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from attention_jax.atomic_write import write_json
from attention_jax.attention import implementation_names
from attention_jax.errors import UserError, named, unknown_name
from attention_jax.functions.normalizer import get_normalizer, normalizer_names
from attention_jax.functions.score import get_score, score_names
from benchmarks import report
from benchmarks.harness import BASELINES, Plan, benchmark
from benchmarks.workloads import DTYPES, PASSES, WORKLOADS, select_workloads
from experiments import cli
from experiments.outputs import check_files, print_table

LISTS = {
    "workloads": ("quick", "Names or tags of workloads, or all; --list shows them."),
    "scores": ("", "Scores, all, or FILE.py:FUNCTION; by default each workload's own."),
    "normalizers": ("softmax", "Normalisers, all, or FILE.py:FUNCTION."),
    "implementations": ("all", "Implementations of ours, all or none."),
    "passes": ("forward,gradient", "forward, and gradient for forward and backward."),
    "dtypes": ("float32", f"Any of {', '.join(DTYPES)}."),
    "baselines": ("all", "Other libraries: names, all that are installed, or none."),
}


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags; --peers and --baseline are the former names of two."""
    given: dict[str, Any] = {"flag_values": flag_values}
    for name, (default, text) in LISTS.items():
        flags.DEFINE_list(name, default, text, **given)
    flags.DEFINE_string("output", None, "A JSON file for the results.", **given)
    text = "A result to print as a Markdown table; nothing is measured."
    flags.DEFINE_string("input", None, text, **given)
    flags.DEFINE_integer("repeats", 10, "Interleaved rounds.", lower_bound=1, **given)
    text = "No further round of a case begins after this long, beyond the first three."
    flags.DEFINE_float("max_seconds", 60.0, text, lower_bound=0.0, **given)
    text = "What needs more memory than this is left out, with the reason."
    flags.DEFINE_float("budget_gib", 4.0, text, lower_bound=0.0, **given)
    text = "The candidate that ratios are to."
    flags.DEFINE_string("relative_to", "auto", text, **given)
    flags.DEFINE_boolean("list", False, "List the workloads and stop.", **given)
    flags.DEFINE_alias("peers", "baselines", **given)
    flags.DEFINE_alias("baseline", "relative_to", **given)


def main(arguments: types.SimpleNamespace) -> int:
    """Measures or reads, and prints."""
    if arguments.list:
        rows = [
            (w.name, w.describe(), *map(",".join, (w.scores, w.passes, w.tags)))
            for w in WORKLOADS
        ]
        print_table("workloads", rows)
        return 0
    if arguments.input:
        with named("--input"):
            result = report.read_result(arguments.input)
    else:
        result = measure(arguments)
    print(report.summary_table(result))
    wrong = report.wrong_rows(result)
    for line in wrong:
        print(f"benchmark_attention: {line}", file=sys.stderr)
    return 1 if wrong else 0


def measure(arguments: types.SimpleNamespace) -> dict[str, Any]:
    """Runs the plan, printing each case when it is done and writing --output."""
    plan = make_plan(arguments)
    check_files(arguments, "output")

    def save(result: dict[str, Any]) -> None:
        if arguments.output:
            write_json(pathlib.Path(arguments.output), result)
        print(report.case_table(result["cases"][-1]), flush=True)

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    command = ["python", "-m", "experiments.benchmark_attention", *sys.argv[1:]]
    return benchmark(plan, command=command, log=log, save=save)


def make_plan(arguments: types.SimpleNamespace) -> Plan:
    """What the flags ask for."""

    def chosen(
        flag: str, known: Sequence[str], check: Callable[[str], Any] | None = None
    ) -> tuple[str, ...]:
        given = getattr(arguments, flag)
        kind = "pass" if flag == "passes" else flag.removesuffix("s")
        if given in (["all"], ["none"]):
            return tuple(known) if given == ["all"] else ()
        with named(f"--{flag}"):
            for name in given:
                if check:
                    check(name)
                elif name not in known:
                    raise unknown_name(kind, name, known)
        return tuple(dict.fromkeys(given))

    for flag in ("max_seconds", "budget_gib"):
        if not math.isfinite(value := getattr(arguments, flag)):
            raise UserError(f"--{flag} must be a finite number, got {value}")
    with named("--workloads"):
        workloads = select_workloads(arguments.workloads)
    ours = implementation_names()
    with named("--relative_to"):
        if (name := arguments.relative_to) not in (*ours, *BASELINES):
            raise unknown_name("candidate", name, (*ours, *BASELINES))
    plan = Plan(
        workloads=workloads,
        implementations=chosen("implementations", ours),
        scores=chosen("scores", score_names(), get_score),
        normalizers=chosen("normalizers", normalizer_names(), get_normalizer),
        passes=chosen("passes", PASSES),
        dtypes=chosen("dtypes", DTYPES),
        baselines=chosen("baselines", tuple(BASELINES)),
        repeats=arguments.repeats,
        max_seconds=arguments.max_seconds,
        budget=int(arguments.budget_gib * 2**30),
        relative_to=arguments.relative_to,
    )
    if not (plan.implementations or plan.baselines) or not plan.cases():
        raise UserError(
            "nothing to measure: no implementation and no baseline, or no pass that a "
            "workload has"
        )
    return plan


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags))
