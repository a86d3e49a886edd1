"""Trains and measures every run of a sweep: a config file that returns several configs.

    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores
    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores \\
        --only=score=dot,score=additive

get_config() returns a list of ExperimentConfigs, whose names say in which fields they differ,
or a dict of names; one alone is a sweep of one. Overrides count for every run. Each run is
trained in WORKDIR/NAME and measured on the test set into its result.json; the table is
printed, its figures are kept in WORKDIR/results.json. The same command again, after any
interruption, skips what is finished, resumes the run in progress and tries again what failed.
A run that fails has its reason in the table; the others go on. Exit status: 0 if all are
finished, 1 if not, 143 after SIGTERM, which saves.
"""

import pathlib
import re
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from attention_jax.atomic_write import read_json, write_json
from attention_jax.config import ExperimentConfig
from attention_jax.errors import UserError, format_error, named, unknown_name
from attention_jax.evaluation.compare import (
    Comparison,
    brief_fields,
    brief_values,
    summarize,
    varying_fields,
)
from attention_jax.evaluation.evaluate import evaluate, load_split, provenance
from attention_jax.evaluation.quality import Metric
from attention_jax.evaluation.tables import (
    DEV_COLUMNS,
    RATES,
    Column,
    Table,
    common_facts,
    comparison_table,
)
from attention_jax.experiment import run_experiment, validate
from attention_jax.run import load_run
from attention_jax.training.run_directory import (
    RunDirectory,
    WorkdirInUseError,
    flatten,
)
from experiments import cli
from experiments.cli import define_config, load_configs
from experiments.outputs import print_table
from experiments.progress import watch

# Of a run. The first two are stored; BUSY: another process trains it.
FINISHED, FAILED = "finished", "failed"
UNFINISHED, STOPPED, BUSY = "unfinished", "stopped", "busy"
# What each run is measured on, and whose parameters: the best on dev.
SPLIT, CHECKPOINT = "test", "best"

# Names are folders, and stand between commas in --only.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+@-]{0,119}")
_UNFIT = re.compile(r"[^A-Za-z0-9_.=+@-]+")


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir, --only and --config."""
    given: dict[str, Any] = {"flag_values": flag_values}
    text = "The sweep's directory; made if it does not exist."
    flags.DEFINE_string("workdir", None, text, **given)
    flags.DEFINE_list("only", [], "NAME,NAME: only these runs.", **given)
    define_config(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Runs the given configurations in `arguments.workdir`."""
    configs = name_runs(load_configs(arguments.config, vars(arguments)))
    workdir = RunDirectory(arguments.workdir).path
    check_sweep(configs, workdir, arguments.only)
    # First, since a kill may have come between a run's result and the table.
    rows = write_results(workdir, configs)
    statuses = set()
    with cli.sigterm_received() as received:
        for name in arguments.only or configs:
            run = RunDirectory(workdir / name)
            status, reason = train_and_measure(run, name, configs[name], received)
            rows = write_results(workdir, configs)
            line = f"{name}: {status}" + f": {reason}" * bool(reason)
            print(line, file=sys.stderr, flush=True)
            statuses.add(status)
            if status == STOPPED:
                break
    print_table(*table(configs, rows)._replace(title=f"{workdir}, on test"))
    print(f"wrote {workdir / 'results.json'}")
    if STOPPED in statuses:
        return cli.TERMINATED
    return 0 if statuses == {FINISHED} else 1


def name_runs(
    configs: Sequence[ExperimentConfig] | Mapping[str, ExperimentConfig],
) -> dict[str, ExperimentConfig]:
    """The configurations by name, in order.

    A mapping has its names. Those of a sequence say in which fields they differ,
    `score=dot+seed=1`. One alone is called `run`.

    Raises:
      UserError: two have one name, as equal ones have, or it is not a plain file name.
    """
    if not isinstance(configs, Mapping):
        names = _derived_names(configs)
    else:
        names, configs = list(configs), list(configs.values())
    seen = set()
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                "the name of a run must be a file name of at most 120 letters, digits "
                f"and . = + @ - _, got {name!r}"
            )
        # Some file systems do not tell upper from lower case.
        if name.casefold() in seen:
            raise UserError(
                f"two runs of the sweep have the name {name}, or its case: they are equal, "
                "or get_config() must return a dict of other names"
            )
        seen.add(name.casefold())
    return dict(zip(names, configs, strict=True))


def _derived_names(configs: Sequence[ExperimentConfig]) -> list[str]:
    flat = [flatten(config) for config in configs]
    columns = [
        [f"{brief}={text}" for text in brief_values([one[field] for one in flat])]
        for field, brief in brief_fields(varying_fields(flat)).items()
    ]
    names = map("+".join, zip(*columns, strict=True)) if columns else [""] * len(flat)
    return [_UNFIT.sub("-", name)[:120].lstrip(".-=+@") or "run" for name in names]


def check_sweep(
    configs: Mapping[str, ExperimentConfig], workdir: pathlib.Path, only: Sequence[str]
) -> None:
    """Raises UserError unless every run can start or go on, and `only` names runs."""
    for name in only:
        if name not in configs:
            raise unknown_name("run", name, configs)
    if RunDirectory(workdir).exists():
        raise UserError(f"{workdir} holds a run: give the sweep a workdir of its own")
    for name, config in configs.items():
        with named(name):
            validate(config)
            if config.data.num_test == 0:
                raise UserError(
                    "config.data.num_test must be at least 1, got 0: a sweep measures on "
                    f"the {SPLIT} set"
                )
        RunDirectory(workdir / name).changes(config)


def train_and_measure(
    run: RunDirectory,
    name: str,
    config: ExperimentConfig,
    should_stop: Callable[[], bool],
) -> tuple[str, str]:
    """The status of one run after its turn and the reason, one line."""
    if _load_result(run).get("status") == FINISHED and run.exists():
        return FINISHED, "before"
    if should_stop():
        return STOPPED, "not begun"
    print(f"run {name}", file=sys.stderr, flush=True)
    result: dict[str, Any]
    try:
        with watch(run.events_path, config.training) as log:
            trained = run_experiment(
                config, run.path, log=log, command=sys.argv, should_stop=should_stop
            )
        if trained.reason == "stopped":
            return STOPPED, f"after step {trained.step}"
        loaded = load_run(run.path, checkpoint=CHECKPOINT)
        summary = summarize(run.path, name=name).figures
        result = {
            "status": FINISHED,
            "reason": "",
            "steps": summary["step"],
            **{n: summary[n] for n in ("parameters", "minutes", "tokens_per_second")},
            **evaluate(loaded, load_split(run, SPLIT)).to_dict(),
            **provenance(run, loaded, split=SPLIT, checkpoint=CHECKPOINT),
        }
    except WorkdirInUseError as error:
        return BUSY, str(error)
    except Exception as error:  # noqa: BLE001 - a user's score may raise anything
        own = isinstance(error, UserError | OSError)
        reason = str(error) if own else format_error(error)
        result = {
            "status": FAILED,
            "reason": " ".join(reason.split()),
            "seed": config.seed,
            "traceback": traceback.format_exc(),
        }
    run.path.mkdir(parents=True, exist_ok=True)
    write_json(run.path / "result.json", result)
    return result["status"], result["reason"]


def _load_result(run: RunDirectory) -> dict[str, Any]:
    """What the run came to; {} before that."""
    path = run.path / "result.json"
    return read_json(path) if path.is_file() else {}


def write_results(
    workdir: pathlib.Path, configs: Mapping[str, ExperimentConfig]
) -> list[dict[str, Any]]:
    """Collects the runs' results into results.json, in one step, and returns its rows."""
    flat = {name: flatten(c) for name, c in configs.items()}
    fields = varying_fields(list(flat.values()))
    rows = []
    for name, config in flat.items():
        run = RunDirectory(workdir / name)
        result = _load_result(run)
        result.pop("traceback", None)  # kept beside the run alone
        if not result:
            reason = "not begun"
            if run.exists():
                notes = "; ".join(summarize(run.path, name=name).notes)
                reason = notes.removeprefix("unfinished: ") or "not yet measured"
            result = {"status": UNFINISHED, "reason": reason}
        differs = {field: config[field] for field in fields}
        rows.append({"name": name, "differs": differs, **result})
    complete = all(row["status"] == FINISHED for row in rows)
    workdir.mkdir(parents=True, exist_ok=True)
    results = {"command": list(sys.argv), "complete": complete, "runs": rows}
    write_json(workdir / "results.json", results)
    return rows


def table(
    configs: Mapping[str, ExperimentConfig], rows: Sequence[Mapping[str, Any]]
) -> Table:
    """The table of the rows of results.json."""
    measured = [row for row in rows if "metrics" in row]
    metrics = [Metric(**one) for one in measured[0]["metrics"]] if measured else []
    known = {column.figure: column for column in DEV_COLUMNS}
    columns = [Column(metric.name, metric.title) for metric in metrics]
    columns = [known["parameters"], *columns, RATES[0]]
    columns += [known["minutes"], known["tokens_per_second"]]
    runs = []
    for row in rows:
        values = {m["name"]: m["score"] for m in row.get("metrics", ())}
        values |= {**row, **(row.get("aligned") or {})}
        one = types.SimpleNamespace(name=row["name"], finished=row in measured)
        one.config = flatten(configs[one.name])
        one.figures = {c.figure: values.get(c.figure) for c in columns}
        runs.append(one)
    remarks = [
        f"{row['status']}: {row['reason']}" * bool(row["reason"]) for row in rows
    ]
    notes = common_facts((row["name"], _measured_how(row)) for row in measured)
    return comparison_table(Comparison(tuple(runs)), "", columns, notes, remarks)


def _measured_how(row: Mapping[str, Any]) -> dict[str, str]:
    facts = {metric["name"]: metric["signature"] for metric in row["metrics"]}
    split = f"{row['split']}, {row['sentences']:,} sentences, hash {row['split_hash']}"
    facts |= {"split": split, "checkpoint": f"{row['checkpoint']} on dev"}
    if "seed" not in row["differs"]:
        facts["seed"] = str(row["seed"])
    versions = ", ".join(f"{name} {v}" for name, v in row["versions"].items())
    commit = row["commit"] or "unknown"
    return facts | {"versions": versions, "commit": commit, "device": row["device"]}


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("config", "workdir")))
