"""Sweeps: several configurations trained and measured one after the other.

WORKDIR/NAME/         a run's directory, with result.json besides what training writes
WORKDIR/results.json  one row a run, in the order of the sweep
"""

import contextlib
import os
import pathlib
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax.atomic_write import read_json, write_json
from attention_jax.config import ExperimentConfig
from attention_jax.errors import UserError, format_error, unknown_name
from attention_jax.evaluation.compare import (
    brief_fields,
    brief_values,
    varying_fields,
)
from attention_jax.evaluation.evaluate import evaluate, load_split, provenance
from attention_jax.evaluation.run_summary import summarize
from attention_jax.experiment import run_experiment, validate
from attention_jax.run import load_run
from attention_jax.training.loop import Log
from attention_jax.training.run_directory import (
    RunDirectory,
    WorkdirInUseError,
    config_to_dict,
    flatten,
)

# Of a run. The first two are stored; BUSY: another process trains it.
FINISHED, FAILED = "finished", "failed"
UNFINISHED, STOPPED, BUSY = "unfinished", "stopped", "busy"
# What each run is measured on, and whose parameters: the best on dev.
SPLIT, CHECKPOINT = "test", "best"

# Names are folders, and stand between commas in --only.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+@-]{0,119}")
_UNFIT = re.compile(r"[^A-Za-z0-9_.=+@-]+")

Watch = Callable[[str, ExperimentConfig], contextlib.AbstractContextManager[Log]]


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
      name: the run's.
      status: "finished"; "failed"; "stopped", by `should_stop`; "busy", trained by
        another process.
      reason: one line; of a finished one, that it was so before, if it was.
    """

    name: str
    status: str
    reason: str = ""


def name_runs(
    configs: Sequence[ExperimentConfig] | Mapping[str, ExperimentConfig],
    *,
    single: str = "run",
) -> dict[str, ExperimentConfig]:
    """The configurations by name, in order.

    A mapping has its names. Those of a sequence say in which fields they differ,
    `score=dot+seed=1`; with a field more or less that differs, they all change.

    Args:
      configs: those of the sweep.
      single: what the only one of a sequence is called.

    Raises:
      UserError: two have one name, as equal ones have, or it is not a plain file name.
    """
    if isinstance(configs, Mapping):
        names, values = list(configs), list(configs.values())
    else:
        names, values = _derived_names(configs, single), list(configs)
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
    return dict(zip(names, values, strict=True))


def _derived_names(configs: Sequence[ExperimentConfig], single: str) -> list[str]:
    flat = [flatten(config_to_dict(config)) for config in configs]
    parts: list[list[str]] = [[] for _ in flat]
    for field, brief in brief_fields(varying_fields(flat)).items():
        texts = brief_values([config[field] for config in flat])
        for own, text in zip(parts, texts, strict=True):
            own.append(f"{brief}={text}")
    names = ["+".join(own) or single for own in parts]
    return [_UNFIT.sub("-", name)[:120].lstrip(".-=+@") or "run" for name in names]


def run_sweep(
    configs: Mapping[str, ExperimentConfig],
    workdir: str | os.PathLike[str],
    *,
    only: Collection[str] = (),
    watch: Watch = lambda name, config: contextlib.nullcontext(lambda row: None),
    command: Sequence[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Trains and measures the runs one after the other, yielding what each came to.

    Called again after an interruption, however violent, it skips what is finished, resumes
    the run that was in progress and tries again what failed. A run that fails, whatever it
    raises, ends neither the others nor this. The results are on disk, in results.json,
    before a run is yielded.

    Args:
      configs: by name, as `name_runs` gives them; each is validated before any is trained.
      workdir: the sweep's directory; each run has a folder of its name in it.
      only: the names of those to run; all if empty.
      watch: called for each run that is trained, gives a context manager whose value is
        the `log` for `train`.
      command: what the runs' records and the results say they were started by.
      should_stop: as for `train`; the run in progress is saved, and is the last.

    Raises:
      UserError: a configuration cannot be used, a run was begun with another one, `only`
        has a name that no run has, or `workdir` holds a run itself; before any is trained.
      OSError: results cannot be written.
    """
    workdir = RunDirectory(workdir).path
    for name in only:
        if name not in configs:
            raise unknown_name("run", name, configs)
    if RunDirectory(workdir).exists():
        raise UserError(f"{workdir} holds a run: give the sweep a workdir of its own")
    for name, config in configs.items():
        try:
            validate(config)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if config.data.num_test == 0:
            raise UserError(
                f"{name}: config.data.num_test must be at least 1, got 0: a sweep "
                f"measures on the {SPLIT} set"
            )
        RunDirectory(workdir / name).check_same_config(config)
    # First, since a kill may have come between a run's result and the table.
    _write_results(workdir, configs, command)
    for name in only or configs:
        run = RunDirectory(workdir / name)
        if _load_result(run).get("status") == FINISHED and run.exists():
            yield Outcome(name, FINISHED, "before")
            continue
        if should_stop():
            yield Outcome(name, STOPPED, "not begun")
            return
        outcome = _train_and_measure(
            run, name, configs[name], watch, command, should_stop
        )
        _write_results(workdir, configs, command)
        yield outcome
        if outcome.status == STOPPED:
            return


def _train_and_measure(
    run: RunDirectory,
    name: str,
    config: ExperimentConfig,
    watch: Watch,
    command: Sequence[str],
    should_stop: Callable[[], bool],
) -> Outcome:
    result: dict[str, Any]
    try:
        with watch(name, config) as log:
            trained = run_experiment(
                config, run.path, log=log, command=command, should_stop=should_stop
            )
        if trained.reason == "stopped":
            return Outcome(name, STOPPED, f"after step {trained.step}")
        loaded = load_run(run.path, checkpoint=CHECKPOINT)
        summary = summarize(run.path, name=name)
        result = {
            "status": FINISHED,
            "reason": "",
            "parameters": summary.parameters,
            "steps": summary.step,
            "minutes": summary.minutes,
            "tokens_per_second": summary.tokens_per_second,
            **evaluate(loaded, load_split(run, SPLIT)).to_dict(),
            **provenance(run, loaded, split=SPLIT, checkpoint=CHECKPOINT),
        }
    except WorkdirInUseError as error:
        return Outcome(name, BUSY, str(error))
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
    return Outcome(name, result["status"], result["reason"])


def _load_result(run: RunDirectory) -> dict[str, Any]:
    """What the run came to; {} before that."""
    path = run.path / "result.json"
    return read_json(path) if path.is_file() else {}


def _write_results(
    workdir: pathlib.Path,
    configs: Mapping[str, ExperimentConfig],
    command: Sequence[str],
) -> None:
    """Collects the runs' results into results.json, in one step."""
    flat = {name: flatten(config_to_dict(c)) for name, c in configs.items()}
    fields = varying_fields(list(flat.values()))
    rows = []
    for name, config in flat.items():
        run = RunDirectory(workdir / name)
        result = _load_result(run)
        result.pop("traceback", None)  # kept beside the run alone
        if not result:
            notes = summarize(run.path, name=name).notes if run.exists() else ()
            reason = "; ".join(notes).removeprefix("unfinished: ")
            reason = reason or "trained, not yet measured"
            result = {
                "status": UNFINISHED,
                "reason": reason if run.exists() else "not begun",
            }
        differs = {field: config[field] for field in fields}
        rows.append({"name": name, "differs": differs, **result})
    complete = all(row["status"] == FINISHED for row in rows)
    workdir.mkdir(parents=True, exist_ok=True)
    results = {"command": list(command), "complete": complete, "runs": rows}
    write_json(workdir / "results.json", results)
