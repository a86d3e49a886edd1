"""Times attention: workloads x scores x normalisers x implementations x passes x dtypes.

    python -m experiments.benchmark_attention --workloads=dot_1024,decode --output=FILE.json

Every candidate's results are checked before it is timed; exit status 1 if one of ours is
wrong. Candidates take turns, so that what else the machine does hits all of them; figures
still mean most when nothing else runs. With --output the file is whole after every case.
"""

import pathlib
import sys
import types

from absl import flags

from experiments import benchmark_flags, command_line
from experiments.table import print_table


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    benchmark_flags.define(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Measures, prints and writes."""
    for name in ("output",):
        check_file(name, getattr(arguments, name))
    from attention_jax.benchmarking import benchmark, report
    from attention_jax.benchmarking.harness import wrong_rows
    from attention_jax.training.json_files import write_json

    if arguments.list:
        print_table(report.workload_rows(), title="workloads")
        return 0
    plan = benchmark_flags.plan(arguments)
    output = arguments.output and pathlib.Path(arguments.output)
    result = benchmark(
        plan,
        command=["python", "-m", "experiments.benchmark_attention", *sys.argv[1:]],
        log=lambda line: print(line, file=sys.stderr, flush=True),
        save=lambda result: write_json(output, result) if output else None,
    )
    for case in result["cases"]:
        print_table(report.case_rows(case), title=report.case_title(case))
        print()
    if output:
        print(f"wrote {output}")
    wrong = wrong_rows(result)
    for line in wrong:
        print(f"benchmark_attention: {line}", file=sys.stderr)
    return 1 if wrong else 0


def check_file(flag: str, name: str | None) -> None:
    """Raises UsageError unless a file of that name could be written."""
    if not name:
        return
    path = pathlib.Path(name)
    if not path.parent.is_dir():
        raise command_line.UsageError(
            f"--{flag}: the folder {str(path.parent)!r} does not exist"
        )
    if path.is_dir():
        raise command_line.UsageError(
            f"--{flag}: {str(path)!r} is a folder, not a file"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main, define_flags))
