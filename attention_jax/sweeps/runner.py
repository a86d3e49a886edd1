"""Runs a sweep: trains each configuration, measures it on the test set, goes on."""

import contextlib
import os
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax import errors
from attention_jax.config import ExperimentConfig
from attention_jax.errors import unknown_name
from attention_jax.evaluation.evaluate import evaluate, load_split, provenance
from attention_jax.evaluation.run_summary import summarize
from attention_jax.experiment import run_experiment, validate
from attention_jax.run import load_run
from attention_jax.sweeps.results import (
    BUSY,
    FAILED,
    FINISHED,
    STOPPED,
    SweepDirectory,
)
from attention_jax.training.loop import Log
from attention_jax.training.metrics import NonFiniteLossError
from attention_jax.training.run_directory import (
    ChangedRunError,
    RunDirectory,
    WorkdirInUseError,
)

# What each run is measured on, and whose parameters: the best on dev.
SPLIT, CHECKPOINT = "test", "best"

Watch = Callable[[str, ExperimentConfig], contextlib.AbstractContextManager[Log]]


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
      name: the run's.
      status: "finished"; "failed"; "stopped", by `should_stop`; "busy", trained by
        another process.
      reason: one line, of one that is not finished.
      earlier: whether it was finished before, and nothing was done.
    """

    name: str
    status: str
    reason: str = ""
    earlier: bool = False


@contextlib.contextmanager
def unwatched(name: str, config: ExperimentConfig) -> Iterator[Log]:
    """Shows nothing."""
    del name, config
    yield lambda row: None


def run_sweep(
    configs: Mapping[str, ExperimentConfig],
    workdir: str | os.PathLike[str],
    *,
    only: Collection[str] = (),
    watch: Watch = unwatched,
    command: Sequence[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Trains and measures the runs one after the other, yielding what each came to.

    Called again after an interruption, however violent, it skips what is finished, resumes
    the run that was in progress and tries again what failed. A run that fails, whatever it
    raises, ends neither the others nor this. The results are on disk, in `SweepDirectory`,
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
      UnknownNameError: `only` has a name that no run has.
      ChangedRunError: a run was begun with another configuration; before any is trained.
      ValueError: a configuration cannot be used, or `workdir` holds a run itself.
      OSError: results cannot be written.
    """
    for name in only:
        if name not in configs:
            raise unknown_name("run", name, configs)
    sweep = SweepDirectory(workdir)
    if RunDirectory(workdir).exists():
        raise ValueError(
            f"{sweep.path} holds a run: give the sweep a workdir of its own"
        )
    for name, config in configs.items():
        validate(config)
        if config.data.num_test == 0:
            raise ValueError(
                f"{name}: config.data.num_test must be at least 1, got 0: a sweep "
                f"measures on the {SPLIT} set"
            )
    for name, config in configs.items():
        sweep.run(name).check_same_config(config)
    chosen = [name for name in configs if name in only or not only]
    return _run(sweep, configs, chosen, watch, command, should_stop)


def _run(
    sweep: SweepDirectory,
    configs: Mapping[str, ExperimentConfig],
    chosen: Sequence[str],
    watch: Watch,
    command: Sequence[str],
    should_stop: Callable[[], bool],
) -> Iterator[Outcome]:
    # First, since a kill may have come between a run's result and the table.
    sweep.write_results(configs, command)
    for name in chosen:
        if sweep.finished(name):
            yield Outcome(name, FINISHED, earlier=True)
            continue
        if should_stop():
            yield Outcome(name, STOPPED, "not begun")
            return
        outcome = _train_and_measure(
            sweep, name, configs[name], watch, command, should_stop
        )
        sweep.write_results(configs, command)
        yield outcome
        if outcome.status == STOPPED:
            return


def _train_and_measure(
    sweep: SweepDirectory,
    name: str,
    config: ExperimentConfig,
    watch: Watch,
    command: Sequence[str],
    should_stop: Callable[[], bool],
) -> Outcome:
    run = sweep.run(name)
    result: dict[str, Any]
    try:
        with watch(name, config) as log:
            trained = run_experiment(
                config, run.path, log=log, command=command, should_stop=should_stop
            )
        if trained.reason == "stopped":
            return Outcome(name, STOPPED, f"after step {trained.step}")
        result = {"status": FINISHED, "reason": "", **_measured(run)}
    except WorkdirInUseError as error:
        return Outcome(name, BUSY, str(error))
    except Exception as error:  # noqa: BLE001 - a user's score may raise anything
        result = {
            "status": FAILED,
            "reason": _reason(error),
            "seed": config.seed,
            "traceback": traceback.format_exc(),
        }
    sweep.save_result(name, result)
    return Outcome(name, result["status"], result["reason"])


def _measured(run: RunDirectory) -> dict[str, Any]:
    """The run's figures on the test set, and all that belongs beside them."""
    loaded = load_run(run.path, checkpoint=CHECKPOINT)
    evaluation = evaluate(loaded, load_split(run, SPLIT))
    summary = summarize(run.path, name=run.path.name)
    return {
        "parameters": summary.parameters,
        "steps": summary.step,
        "minutes": summary.minutes,
        "tokens_per_second": summary.tokens_per_second,
        **evaluation.to_dict(),
        **provenance(run, loaded, split=SPLIT, checkpoint=CHECKPOINT),
    }


def _reason(error: Exception) -> str:
    """One line: our own messages as they are, others with their type and place."""
    own = isinstance(error, NonFiniteLossError | ChangedRunError | OSError)
    text = str(error) if own else errors.format_error(error)
    return " ".join(text.split())
