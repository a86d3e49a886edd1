"""Trains and measures every run of a sweep: a config file that returns several configs.

    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores
    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores \\
        --only=score=dot,score=additive

get_config() returns a list of ExperimentConfigs, whose names say in which fields they differ,
or a dict of names; one alone is a sweep of one. Overrides count for every run. Each run is
trained in WORKDIR/NAME and measured on the test set; the table is printed and kept in
results.json and results.md. The same command again skips what is finished and resumes the
rest. A run that fails has its reason in the table; the others go on. Exit status: 0 if all
are finished, 1 if not, 143 after SIGTERM, which saves.
"""

import contextlib
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command_line
from experiments.tables import format_table, print_table
from experiments.termination import EXIT_STATUS, Termination

if TYPE_CHECKING:
    from attention_jax.config import ExperimentConfig
    from attention_jax.sweeps import Outcome, SweepDirectory
    from attention_jax.training.loop import Log


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir and --only."""
    flags.DEFINE_string(
        "workdir",
        None,
        "The sweep's directory; made if it does not exist.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "only", [], "NAME,NAME: only these runs.", flag_values=flag_values
    )


def main(arguments: types.SimpleNamespace) -> int:
    """Runs `arguments.configs` in `arguments.workdir`."""
    configs, only = arguments.configs, arguments.only
    from attention_jax.atomic_write import read_json
    from attention_jax.errors import unknown_name
    from attention_jax.sweeps import SweepDirectory, run_sweep
    from attention_jax.sweeps.results import FINISHED, STOPPED

    for name in only:
        if name not in configs:
            raise command_line.UsageError(
                f"--only: {unknown_name('run', name, configs)}"
            )
    chosen = [name for name in configs if name in only or not only]
    sweep = SweepDirectory(arguments.workdir)

    @contextlib.contextmanager
    def watch(name: str, config: "ExperimentConfig") -> Iterator["Log"]:
        from attention_jax.training.metrics import EventFiles
        from experiments.progress import TrainingDisplay

        say(f"run {chosen.index(name) + 1} of {len(chosen)}: {name}")
        with (
            EventFiles(sweep.run(name).events_path) as events,
            TrainingDisplay(config.training) as display,
        ):

            def log(row: dict[str, Any]) -> None:
                display(row)
                events(row)

            yield log

    statuses = []
    with Termination() as asked_to_stop:
        for outcome in run_sweep(
            configs,
            arguments.workdir,
            only=only,
            watch=watch,
            command=sys.argv,
            should_stop=asked_to_stop,
        ):
            statuses.append(outcome.status)
            say(f"{outcome.name}: {_told(outcome)}")
            write_markdown(sweep)
    rows = read_json(sweep.results_path)["runs"]
    head, lines = table(rows)
    print_table(lines, head=head, title=f"{sweep.path}, on test")
    for line in remarks(rows):
        print(line)
    print(f"wrote {sweep.results_path} and {sweep.markdown_path.name}")
    if STOPPED in statuses:
        return EXIT_STATUS
    return 0 if {*statuses} == {FINISHED} else 1


def write_markdown(sweep: "SweepDirectory") -> None:
    """Writes results.md from results.json."""
    from attention_jax.atomic_write import read_json, write_text

    rows = read_json(sweep.results_path)["runs"]
    below = "".join(f"- {line}\n" for line in remarks(rows))
    head, lines = table(rows)
    shown = format_table(lines, head, markdown=True)
    write_text(sweep.markdown_path, f"{shown}\n\n{below}")


def say(line: str) -> None:
    """A line beside the table, on stderr."""
    print(line, file=sys.stderr, flush=True)


def _told(outcome: "Outcome") -> str:
    how = f"{outcome.status} before" if outcome.earlier else outcome.status
    return f"{how}: {outcome.reason}" if outcome.reason else how


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table, of the rows of results.json."""
    from attention_jax.evaluation.config_variation import brief_fields, brief_values

    fields = list(rows[0]["differs"])
    brief = brief_fields(fields)
    # Under the same name in every run that has been measured.
    # Each with an arrow where lower is better.
    metrics = {
        m["name"]: m["name"] + " ↓" * (not m.get("higher_is_better", True))
        for row in rows
        for m in _metrics(row)
    }
    head = ["run", *(brief[field] for field in fields), "parameters"]
    head += metrics.values()
    # Where the links between words are known, as in generated phrases.
    aligned = any(row.get("aligned") for row in rows)
    head += ["AER % ↓"] * aligned
    head += ["tokens/s", "minutes", "notes"]
    columns = [
        brief_values([row["differs"][field] for row in rows]) for field in fields
    ]
    lines = []
    for number, row in enumerate(rows):
        scores = {metric["name"]: metric["score"] for metric in _metrics(row)}
        note = f"{row['status']}: {row['reason']}" if row["reason"] else ""
        lines.append(
            [
                row["name"],
                *(column[number] for column in columns),
                _figure(row.get("parameters"), "{:,}"),
                *(_figure(scores.get(name), "{:.2f}") for name in metrics),
                *[_error_rate(row)] * aligned,
                _figure(row.get("tokens_per_second"), "{:,.0f}"),
                _figure(row.get("minutes"), "{:.1f}"),
                note,
            ]
        )
    return head, lines


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the figures were measured; what is not the same for all runs is said of each."""
    measured = [row for row in rows if _metrics(row)]
    facts: dict[str, dict[str, list[str]]] = {}
    for row in measured:
        said = {metric["name"]: metric["signature"] for metric in _metrics(row)}
        said["split"] = (
            f"{row['split']}, {row['sentences']:,} sentences, hash {row['split_hash']}"
        )
        said["checkpoint"] = f"{row['checkpoint']} on dev"
        if "seed" not in row["differs"]:
            said["seed"] = str(row["seed"])
        said["versions"] = ", ".join(f"{n} {v}" for n, v in row["versions"].items())
        said["commit"] = row["commit"] or "unknown"
        said["device"] = row["device"]
        for name, text in said.items():
            facts.setdefault(name, {}).setdefault(text, []).append(row["name"])
    lines = []
    for name, texts in facts.items():
        if len(texts) == 1:
            lines.append(f"{name}: {next(iter(texts))}")
        else:
            each = [f"{text} ({', '.join(runs)})" for text, runs in texts.items()]
            lines.append(f"{name} is not the same for all: {'; '.join(each)}")
    return lines


def _metrics(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return row.get("metrics", ())


def _error_rate(row: Mapping[str, Any]) -> str:
    rate = (row.get("aligned") or {}).get("error_rate")
    return "–" if rate is None else f"{100 * rate:.1f}"


def _figure(value: Any, pattern: str) -> str:
    return "–" if value is None else pattern.format(value)


if __name__ == "__main__":
    sys.exit(
        command_line.run(
            main,
            define_flags,
            configs=True,
            required=("workdir",),
            interrupted=(
                "interrupted; the same command goes on where it was interrupted"
            ),
        )
    )
