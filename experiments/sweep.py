"""Trains and measures every run of a sweep: a config file that returns several configs.

    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores
    python -m experiments.sweep --config=configs/compare_scores.py --workdir=runs/compare_scores \\
        --only=score=dot,score=additive

get_config() returns a list of ExperimentConfigs, whose names say in which fields they differ,
or a dict of names; one alone is a sweep of one. Overrides count for every run. Each run is
trained in WORKDIR/NAME and measured on the test set; the table is printed, its figures are
kept in results.json. The same command again skips what is finished and resumes the rest. A
run that fails has its reason in the table; the others go on. Exit status: 0 if all are
finished, 1 if not, 143 after SIGTERM, which saves.
"""

import contextlib
import pathlib
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from attention_jax.atomic_write import read_json
from attention_jax.config import ExperimentConfig
from attention_jax.evaluation.compare import brief_fields, brief_values
from attention_jax.training.run_directory import RunDirectory
from experiments import cli
from experiments.config_flags import define_config, load_configs
from experiments.outputs import print_table
from experiments.progress import Log, watch


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir, --only and --config."""
    flags.DEFINE_string(
        "workdir",
        None,
        "The sweep's directory; made if it does not exist.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "only", [], "NAME,NAME: only these runs.", flag_values=flag_values
    )
    define_config(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Runs the given configurations in `arguments.workdir`."""
    # Imported here: all that trains and measures takes a second.
    from attention_jax import sweeps

    stem = pathlib.Path(arguments.config.partition(":")[0]).stem
    loaded = load_configs(arguments.config, vars(arguments))
    configs = sweeps.name_runs(loaded, single=stem)
    workdir = RunDirectory(arguments.workdir).path

    def watch_run(
        name: str, config: ExperimentConfig
    ) -> contextlib.AbstractContextManager[Log]:
        print(f"run {name}", file=sys.stderr, flush=True)
        return watch(RunDirectory(workdir / name).events_path, config.training)

    statuses = set()
    with cli.sigterm_received() as received:
        for outcome in sweeps.run_sweep(
            configs,
            workdir,
            only=arguments.only,
            watch=watch_run,
            command=sys.argv,
            should_stop=received,
        ):
            statuses.add(outcome.status)
            print(*filter(None, outcome), sep=": ", file=sys.stderr, flush=True)
    rows = read_json(workdir / "results.json")["runs"]
    head, lines = table(rows)
    print_table(lines, head=head, title=f"{workdir}, on test")
    print(*remarks(rows), f"wrote {workdir / 'results.json'}", sep="\n")
    if sweeps.STOPPED in statuses:
        return cli.TERMINATED
    return 0 if statuses == {sweeps.FINISHED} else 1


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table, of the rows of results.json."""
    cells: list[dict[str, str]] = [{} for _ in rows]
    for field, name in brief_fields(list(rows[0]["differs"])).items():
        texts = brief_values([row["differs"][field] for row in rows])
        for own, text in zip(cells, texts, strict=True):
            own[name] = text
    for row, own in zip(rows, cells, strict=True):
        own |= figures(row)
        own["notes"] = f"{row['status']}: {row['reason']}" if row["reason"] else ""
    names = dict.fromkeys(name for own in cells for name in own if name != "notes")
    head = [*names, "notes"]
    return ["run", *head], [
        [row["name"], *(own.get(name, "–") for name in head)]
        for row, own in zip(rows, cells, strict=True)
    ]


def figures(row: Mapping[str, Any]) -> dict[str, str]:
    """What was measured of one run; {} of one that is not finished."""
    if "metrics" not in row:
        return {}
    found = {"parameters": f"{row['parameters']:,}"}
    for metric in row["metrics"]:
        # An arrow where lower is better.
        arrow = " ↓" * (not metric.get("higher_is_better", True))
        found[f"{metric['name']}{arrow}"] = f"{metric['score']:.2f}"
    # Where gold alignments are known, as in generated phrases.
    if (row.get("aligned") or {}).get("error_rate") is not None:
        found["AER % ↓"] = f"{100 * row['aligned']['error_rate']:.1f}"
    if row["tokens_per_second"] is not None:
        found["tokens/s"] = f"{row['tokens_per_second']:,.0f}"
    found["minutes"] = f"{row['minutes']:.1f}"
    return found


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the figures were measured; what is not the same for all names its runs."""
    facts: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if "metrics" not in row:
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
            facts.setdefault(name, {}).setdefault(text, []).append(row["name"])
    return [
        f"{name}: {text}" + f" ({', '.join(runs)})" * (len(texts) > 1)
        for name, texts in facts.items()
        for text, runs in texts.items()
    ]


if __name__ == "__main__":
    sys.exit(
        cli.run(
            main,
            define_flags,
            required=("config", "workdir"),
            interrupted="interrupted; the same command continues where it stopped",
        )
    )
