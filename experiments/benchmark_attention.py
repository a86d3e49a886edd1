"""Times attention: workloads x scores x normalisers x implementations x passes x dtypes.

    python -m experiments.benchmark_attention --workloads=dot_1024,decode --output=FILE.json

Every candidate's results are checked before it is timed; exit status 1 if one of ours is
wrong or fails. Candidates take turns, so that what else the machine does hits all of them;
figures still mean most when nothing else runs. The file is whole after every case.

--figure draws time and memory against length: --workloads=length is made for it.
--compare=OLD.json says what became slower since, exit status 0 all the same. --input reads
results to print, draw or compare instead of measuring.
"""

import pathlib
import sys
import types
from typing import Any

from absl import flags

from experiments import benchmark_flags, cli
from experiments.benchmark_display import BenchmarkDisplay
from experiments.tables import print_table


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    benchmark_flags.define(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Measures or reads, prints, draws, compares."""
    from attention_jax.benchmarking import length_figure, report
    from attention_jax.benchmarking.comparison import compare
    from attention_jax.benchmarking.results import wrong_rows

    if arguments.list:
        print_table(report.workload_rows(), title="workloads")
        return 0
    benchmark_flags.check_files(arguments)
    old = benchmark_flags.read("compare", arguments.compare)
    result = benchmark_flags.read("input", arguments.input)
    if result is None:
        result = measure(arguments)
    elif not arguments.summary:
        for case in result["cases"]:
            print_case(case)
    if arguments.summary:
        print("\n".join(report.summary_lines(result)))
    if arguments.figure:
        length_figure.plot_lengths(result, path=arguments.figure)
        print(f"wrote {arguments.figure}")
    if old is not None:
        changes = compare(old, result)
        print_table(report.comparison_rows(changes), title=arguments.compare)
        print(report.comparison_summary(changes))
    wrong = wrong_rows(result)
    for line in wrong:
        print(f"benchmark_attention: {line}", file=sys.stderr)
    return 1 if wrong else 0


def measure(arguments: types.SimpleNamespace) -> dict[str, Any]:
    """Runs the plan, printing each case when it is done and writing --output."""
    from attention_jax.atomic_write import write_json
    from attention_jax.benchmarking import benchmark

    plan = benchmark_flags.plan(arguments)
    output = arguments.output and pathlib.Path(arguments.output)
    command = ["python", "-m", "experiments.benchmark_attention", *sys.argv[1:]]
    with BenchmarkDisplay() as display:

        def save(result: dict[str, Any]) -> None:
            if output:
                write_json(output, result)
            display.clear()
            print_case(result["cases"][-1])

        result = benchmark(plan, command=command, log=display, save=save)
    if output:
        print(f"wrote {output}")
    return result


def print_case(case: dict[str, Any]) -> None:
    """One case's table, and why the other candidates are not in it."""
    from attention_jax.benchmarking import report

    print_table(report.case_rows(case), title=report.case_title(case))
    for line in report.case_notes(case):
        print(line)
    print(flush=True)


if __name__ == "__main__":
    sys.exit(
        cli.run(
            main,
            define_flags,
            interrupted="interrupted; the file of --output has what was measured",
        )
    )
