"""The training loop, on the host: batch, step, log, evaluate, checkpoint."""

import contextlib
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.configuration import ExperimentConfig, TrainingConfig
from attention_jax.data.codec import save_codecs
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.compilation import CompilationCounter
from attention_jax.training.development import make_dev_evaluation, make_samples
from attention_jax.training.json_files import append_lines, drop_lines_after
from attention_jax.training.lock import sole_trainer
from attention_jax.training.meter import Meter, NonFiniteLossError
from attention_jax.training.non_finite import explain_non_finite
from attention_jax.training.optimizer import make_schedule
from attention_jax.training.placement import (
    ONE_DEVICE,
    Placement,
    any_process,
    make_placement,
)
from attention_jax.training.preparation import Experiment, describe, prepare
from attention_jax.training.profile import Profile
from attention_jax.training.progress import Progress
from attention_jax.training.resumption import (
    changes,
    check_same_data,
    refuse_changes,
)
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.state import TrainState, init_state
from attention_jax.training.step import make_train_step
from attention_jax.training.stored_config import with_absolute_paths
from attention_jax.validation import validate

Log = Callable[[dict[str, Any]], None]

# Why a run ends: every step is made, dev no longer improves, max_minutes, should_stop.
STEPS, PATIENCE, MINUTES, STOPPED = "steps", "patience", "minutes", "stopped"


class TrainResult(NamedTuple):
    """How a run ended."""

    step: int
    minutes: float  # over all restarts; compilation and dev evaluation included
    reason: str  # "steps", "patience" (early stopping), "minutes" or "stopped"
    best_step: int  # the step that was best on dev, 0 if there is none
    best_loss: float  # the dev loss there, nats per token

    @property
    def finished(self) -> bool:
        """Whether the same command again would train no further."""
        return self.reason in (STEPS, PATIENCE)


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
      config: checked by `validate`; file names may start with ~.
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
    validate(config)
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
        changed = changes(run, config)
        if not allow_changed_config:
            refuse_changes(run, changed)
        resumed = run.exists() and run.codecs_path.is_file()
        experiment = prepare(config, codecs_path=run.codecs_path if resumed else None)
        if not allow_changed_config:
            check_same_data(run, experiment.splits)
        if not known:
            run.path.mkdir(parents=True, exist_ok=True)
            lock()
        if first_process and (changed or not resumed):
            run.save_config(config)
        if first_process and not resumed:
            codecs = experiment.source_codec, experiment.target_codec
            save_codecs(run.codecs_path, *codecs)
        checkpoints = held.enter_context(
            Checkpoints(run.checkpoints_path, keep=config.training.keep_checkpoints)
        )
        if not first_process:
            log = _silent
        result = _train_in(
            run, experiment, placement, checkpoints, log, command, changed, should_stop
        )
    # After the last checkpoint is whole.
    log({"event": "end", **result._asdict(), "finished": result.finished})
    return result


def _train_in(
    run: RunDirectory,
    experiment: Experiment,
    placement: Placement,
    checkpoints: Checkpoints,
    log: Log,
    command: Sequence[str],
    changed: list[str],
    should_stop: Callable[[], bool],
) -> TrainResult:
    """From the last checkpoint that is whole, or from the start, to the end."""
    config = experiment.config
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
        state = _with_rate(state, config.training, progress)
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
        log({"event": "start", "step": first_step, **facts, **news})
    state = placement.replicate(state)
    try:
        return run_steps(
            experiment, state, progress, run, checkpoints, placement, log, should_stop
        )
    except NonFiniteLossError as error:
        raise explain_non_finite(error, experiment, run, checkpoints.steps()) from error


def run_steps(
    experiment: Experiment,
    state: TrainState,
    progress: Progress,
    run: RunDirectory,
    checkpoints: Checkpoints,
    placement: Placement,
    log: Log,
    should_stop: Callable[[], bool],
) -> TrainResult:
    """The loop itself, from `state` to the end of the run."""
    batches, training = experiment.batches, experiment.config.training
    train_step = make_train_step(
        experiment.model,
        experiment.optimizer,
        training,
        seed=experiment.config.seed,
        placement=placement,
    )
    learning_rate = jax.jit(make_schedule(training))
    evaluate = make_dev_evaluation(experiment)
    earlier_minutes, started = progress.minutes, time.perf_counter()
    first_process, alone = jax.process_index() == 0, jax.process_count() == 1

    def record(path: pathlib.Path, *rows: dict[str, Any]) -> None:
        if first_process:
            append_lines(path, rows)
        for row in rows:
            log(row)

    step, meter = int(state.step), Meter(progress.meter)
    reason = _ending(training, progress, step)
    compilations = CompilationCounter(
        "train_step", count=progress.compilations, seconds=progress.compilation_seconds
    )
    profile = Profile(
        run.profile_path, first_step=step, steps=experiment.config.profile
    )
    with compilations, profile:
        while not reason:
            profile.before(step)
            batch = placement.spread_rows(batches.at(step))
            state, metrics = train_step(state, batch)
            step += 1
            meter.add(step, metrics)
            progress = progress._replace(
                minutes=earlier_minutes + (time.perf_counter() - started) / 60.0,
                compilations=compilations.count,
                compilation_seconds=compilations.seconds,
            )
            reason = _ending(training, progress, step)
            if alone or step % training.log_every == 0:
                # Clocks and signals differ among processes, which must end together.
                late = any_process(reason == MINUTES)
                reason = MINUTES if late and reason != STEPS else reason
                if any_process(should_stop()) and not reason:
                    reason = STOPPED
            elif reason == MINUTES:
                reason = ""
            last = reason in (STEPS, MINUTES)
            where = {"step": step, "epoch": step / batches.steps_per_epoch}
            if last or step % training.log_every == 0:
                before = (step - 1) // training.accumulate * training.accumulate
                row = {
                    "event": "train",
                    **where,
                    **meter.report(),
                    "learning_rate": float(learning_rate(before))
                    * training.plateau_factor**progress.reductions,
                    "padding_share": batches.padding_share,
                    "compilations": progress.compilations,
                    "compilation_seconds": progress.compilation_seconds,
                    "minutes": progress.minutes,
                }
                record(run.metrics_path, row)
                meter.restart()
            dev_loss, rank, improved = math.inf, math.inf, False
            if last or step % training.eval_every == 0:
                with meter.paused():
                    quality = evaluate(placement.local(state.evaluated_params))
                dev_loss = quality.loss
                rank = -quality.bleu if training.best_by == "bleu" else dev_loss
                progress = progress.evaluated(
                    training, step, loss=quality.loss, bleu=quality.bleu
                )
                improved = progress.best_step == step
                state = _with_rate(state, training, progress, placement)
                row = {"event": "dev", **where, **quality.scores()}
                row |= {"best_step": progress.best_step, "minutes": progress.minutes}
                record(run.metrics_path, row)
                record(run.samples_path, *make_samples(experiment, quality, step))
                if progress.out_of_patience(training) and not last:
                    reason = PATIENCE
            if reason or improved or step % training.checkpoint_every == 0:
                progress = progress._replace(meter=meter.read())
                with meter.paused():
                    checkpoints.save(state, progress, dev_loss=dev_loss, rank=rank)
    return TrainResult(
        step=step,
        minutes=progress.minutes,
        reason=reason,
        best_step=progress.best_step,
        best_loss=progress.best_loss,
    )


def _ending(training: TrainingConfig, progress: Progress, step: int) -> str:
    """Why the run ends here, "" if it goes on."""
    if step >= training.steps:
        return STEPS
    if progress.out_of_patience(training):
        return PATIENCE
    out_of_time = 0.0 < training.max_minutes <= progress.minutes
    return MINUTES if out_of_time else ""


def _with_rate(
    state: TrainState,
    training: TrainingConfig,
    progress: Progress,
    placement: Placement = ONE_DEVICE,
) -> TrainState:
    """The state with the factor of the learning rate that the evaluations have led to."""
    if state.rate_scale is None:
        return state
    scale = training.plateau_factor**progress.reductions
    scale = jnp.asarray(scale, jnp.float32)
    return state._replace(rate_scale=placement.replicate(scale))


def _silent(row: dict[str, Any]) -> None:
    del row
