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

import collections
import contextlib
import pathlib
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from attention_jax.atomic_write import read_json, write_text
from attention_jax.config import ExperimentConfig
from attention_jax.evaluation.compare import brief_fields, brief_values
from experiments import cli
from experiments.processes import TERMINATED, Termination
from experiments.progress import Log, watch
from experiments.tables import format_table, print_table


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
    # Imported here: all that trains and measures takes a second.
    from attention_jax import sweeps

    configs = arguments.configs
    if isinstance(configs, ExperimentConfig):
        configs = [configs]
    stem = pathlib.Path(arguments.config_file.partition(":")[0]).stem
    configs = sweeps.name_runs(configs, single=stem)
    sweep = sweeps.SweepDirectory(arguments.workdir)

    @contextlib.contextmanager
    def watch_run(name: str, config: ExperimentConfig) -> Iterator[Log]:
        print(f"run {name}", file=sys.stderr, flush=True)
        with watch(sweep.run(name).events_path, config.training) as log:
            yield log

    statuses = set()
    with Termination() as received:
        for outcome in sweeps.run_sweep(
            configs,
            arguments.workdir,
            only=arguments.only,
            watch=watch_run,
            command=sys.argv,
            should_stop=received,
        ):
            statuses.add(outcome.status)
            line = f"{outcome.name}: {outcome.status}{' before' * outcome.earlier}"
            line += f": {outcome.reason}" * bool(outcome.reason)
            print(line, file=sys.stderr, flush=True)
    rows = read_json(sweep.results_path)["runs"]
    head, lines = table(rows)
    below = remarks(rows)
    markdown = format_table(lines, head, markdown=True)
    listed = "".join(f"- {line}\n" for line in below)
    write_text(sweep.markdown_path, f"{markdown}\n\n{listed}")
    print_table(lines, head=head, title=f"{sweep.path}, on test")
    print(*below, f"wrote {sweep.results_path} and results.md", sep="\n")
    if sweeps.STOPPED in statuses:
        return TERMINATED
    return 0 if statuses == {sweeps.FINISHED} else 1


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table, of the rows of results.json."""
    brief = brief_fields(list(rows[0]["differs"]))
    columns = {
        name: brief_values([row["differs"][field] for row in rows])
        for field, name in brief.items()
    }
    columns["parameters"] = _column(rows, "parameters", "{:,}")
    # An arrow where lower is better.
    metrics = {
        m["name"]: m["name"] + " ↓" * (not m.get("higher_is_better", True))
        for row in rows
        for m in row.get("metrics", ())
    }
    for metric, name in metrics.items():
        scores = [
            {m["name"]: m["score"] for m in row.get("metrics", ())} for row in rows
        ]
        columns[name] = _column(scores, metric, "{:.2f}")
    # Where gold alignments are known, as in generated phrases.
    aligned = [row.get("aligned") or {} for row in rows]
    if any(aligned):
        columns["AER % ↓"] = _column(aligned, "error_rate", "{:.1%}")
        columns["AER % ↓"] = [cell.removesuffix("%") for cell in columns["AER % ↓"]]
    columns["tokens/s"] = _column(rows, "tokens_per_second", "{:,.0f}")
    columns["minutes"] = _column(rows, "minutes", "{:.1f}")
    columns["notes"] = [
        f"{row['status']}: {row['reason']}" if row["reason"] else "" for row in rows
    ]
    names = [row["name"] for row in rows]
    cells = zip(names, *columns.values(), strict=True)
    return ["run", *columns], list(map(list, cells))


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the figures were measured; what is not the same for all runs is said of each."""
    facts = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        if not row.get("metrics"):
            continue
        found = {metric["name"]: metric["signature"] for metric in row["metrics"]}
        found["split"] = (
            f"{row['split']}, {row['sentences']:,} sentences, hash {row['split_hash']}"
        )
        found["checkpoint"] = f"{row['checkpoint']} on dev"
        if "seed" not in row["differs"]:
            found["seed"] = str(row["seed"])
        found["versions"] = ", ".join(f"{n} {v}" for n, v in row["versions"].items())
        found["commit"] = row["commit"] or "unknown"
        found["device"] = row["device"]
        for name, text in found.items():
            facts[name][text].append(row["name"])
    return [
        f"{name}: {next(iter(texts))}"
        if len(texts) == 1
        else f"{name} is not the same for all: "
        + "; ".join(f"{text} ({', '.join(runs)})" for text, runs in texts.items())
        for name, texts in facts.items()
    ]


def _column(rows: Sequence[Mapping[str, Any]], name: str, pattern: str) -> list[str]:
    values = [row.get(name) for row in rows]
    return ["–" if value is None else pattern.format(value) for value in values]


if __name__ == "__main__":
    sys.exit(
        cli.run(
            main,
            define_flags,
            configs=True,
            required=("workdir",),
            interrupted="interrupted; the same command continues where it stopped",
        )
    )
