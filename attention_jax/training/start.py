"""Starting a run, or going on with one: its directory, its lock, its last checkpoint."""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from attention_jax import data, models
from attention_jax.config import ExperimentConfig, check_fields
from attention_jax.data.codec import save_codecs
from attention_jax.decoding import searches
from attention_jax.training import optimizer
from attention_jax.training.checkpoint_reading import best_metrics
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.ending import TrainResult
from attention_jax.training.json_files import drop_lines_after
from attention_jax.training.lock import sole_trainer
from attention_jax.training.loop import Log, Session, run_steps, with_rate
from attention_jax.training.meter import NonFiniteLossError
from attention_jax.training.non_finite import explain_non_finite
from attention_jax.training.placement import make_placement
from attention_jax.training.preparation import Experiment, describe, prepare
from attention_jax.training.progress import Progress
from attention_jax.training.resumption import (
    changes,
    check_same_data,
    refuse_changes,
)
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.state import TrainState, init_state
from attention_jax.training.stored_config import with_absolute_paths


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike[str],
    *,
    log: Log = lambda row: None,
    command: Sequence[str] = (),
    allow_changed_config: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Trains until `config.training.steps` or `max_minutes`, from the last checkpoint on.

    Called again after an interruption, however violent, with the same configuration it
    ends with the same parameters and logs the same metrics, bit for bit, as an undisturbed
    run on that machine: a batch and its dropout are functions of the seed and the step.
    (`max_minutes` is a limit by the clock, so where it stops a run is not repeatable.)

    With several processes, each calls this with the same arguments; they share `workdir`,
    and the first of them writes everything but the checkpoints' arrays.

    Args:
      config: checked as a whole; file names may start with ~.
      workdir: the run's directory; made when data and model have been built.
      log: receives each row of metrics, a dict with its kind as "event".
      command: what the run's record says it was started by.
      allow_changed_config: go on from the checkpoints of another configuration, which this
        one then replaces; the run's record lists the differences.
      should_stop: asked after every step (of several processes: after each `log_every`);
        once it is true the state is saved and training returns.

    Raises:
      ChangedRunError: workdir belongs to a run of another configuration or data.
      WorkdirInUseError: another process is training in workdir.
      NonFiniteLossError: the loss or a gradient overflowed; names the step and its pairs.
      DamagedCheckpointError: there are checkpoints, and none of them is whole.
      IncompatibleCheckpointError: they are of another model or version of this package.
      OSError: `workdir` cannot be written, known before any work; a file cannot be read;
        or the disk is full, and what was saved before stays.
      ValueError, LookupError: data or model cannot be built.
    """
    check_fields(config)
    data.check_config(config.data)
    models.check_config(config.model)
    optimizer.check_config(config.training)
    searches.check_config(config.decoding, config.model)
    config = with_absolute_paths(config)
    run, first_process = RunDirectory(workdir), jax.process_index() == 0
    placement = make_placement(config.training)
    with contextlib.ExitStack() as held:

        def lock() -> None:
            if first_process:
                held.enter_context(sole_trainer(run.lock_path))

        if first_process:
            run.check_writable()
        known = run.path.is_dir()
        if known:
            lock()
        plan = _plan(run, config, allow_changed_config)
        if not known:
            run.path.mkdir(parents=True, exist_ok=True)
            lock()
            if first_process and run.exists():
                # Another process has begun a run here while this one read its data.
                plan = _plan(run, config, allow_changed_config)
        experiment = plan.experiment
        if first_process and (plan.changed or not plan.begun):
            run.save_config(config)
        if first_process and not plan.begun:
            codecs = experiment.source_codec, experiment.target_codec
            save_codecs(run.codecs_path, *codecs)
        checkpoints = held.enter_context(
            Checkpoints(
                run.checkpoints_path,
                keep=config.training.keep_checkpoints,
                best_by=config.training.best_by,
            )
        )
        session = Session(
            experiment,
            run,
            checkpoints,
            placement,
            log if first_process else _silent,
            should_stop,
        )
        result = _go_on(session, command, plan.changed)
    # After the last checkpoint is whole.
    session.log({"event": "end", **result._asdict(), "finished": result.finished})
    return result


class _Plan(NamedTuple):
    """What training in a directory would do, with nothing written yet.

    Attributes:
      changed: the fields in which the configuration stored there differs.
      begun: whether a run was begun there, with its vocabularies.
      experiment: what is trained.
    """

    changed: list[str]
    begun: bool
    experiment: Experiment


def _plan(
    run: RunDirectory, config: ExperimentConfig, allow_changed_config: bool
) -> _Plan:
    changed = changes(run, config)
    if not allow_changed_config:
        refuse_changes(run, changed)
    begun = run.exists() and run.codecs_path.is_file()
    experiment = prepare(config, codecs_path=run.codecs_path if begun else None)
    if not allow_changed_config:
        check_same_data(run, experiment.splits)
    return _Plan(changed, begun, experiment)


def _go_on(session: Session, command: Sequence[str], changed: list[str]) -> TrainResult:
    """From the last checkpoint that is whole, or from the start, to the end."""
    experiment, run = session.experiment, session.run
    config, checkpoints = experiment.config, session.checkpoints
    state = init_state(
        experiment.model,
        experiment.optimizer,
        seed=config.seed,
        training=config.training,
    )
    progress, skipped = Progress(), []
    found = checkpoints.resume(state)
    if found is not None:
        state, progress, skipped = found
        progress = _judged(progress, config.training.best_by, run)
        state = with_rate(state, config.training, progress)
    first_step, facts = int(state.step), describe(experiment, state.params)
    if jax.process_index() == 0:
        for path in (run.metrics_path, run.samples_path):
            # What was written between the checkpoint and a kill is written again.
            drop_lines_after(path, first_step)
        # What a resumed run cannot show later: it is removed or moved now.
        lost = {
            "unfinished_checkpoints": checkpoints.unfinished,
            "damaged_checkpoints": {one.name: one.reason for one in skipped},
        }
        news = {name: value for name, value in lost.items() if value}
        if changed:
            news["changed_config"] = changed
        run.add_session(command, first_step=first_step, **facts, **news)
        session.log({"event": "start", "step": first_step, **facts, **news})
    state: TrainState = session.placement.replicate(state)
    try:
        return run_steps(session, state, progress)
    except NonFiniteLossError as error:
        raise explain_non_finite(error, experiment, run, checkpoints.steps()) from error


def _judged(progress: Progress, best_by: str, run: RunDirectory) -> Progress:
    """The progress by the criterion that is configured now."""
    if progress.best_by in ("", best_by):
        return progress
    return progress.rejudged(best_by, best_metrics(run.checkpoints_path, best_by))


def _silent(row: dict[str, Any]) -> None:
    del row
