"""The training loop, on the host: batch, step, log, evaluate, checkpoint."""

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.config import TrainingConfig
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.compilation import CompilationCounter
from attention_jax.training.development import make_dev_evaluation, make_samples
from attention_jax.training.ending import (
    MINUTES,
    PATIENCE,
    STEPS,
    STOPPED,
    TrainResult,
    reason_to_end,
)
from attention_jax.training.json_files import append_lines
from attention_jax.training.meter import Meter
from attention_jax.training.optimizer import make_schedule
from attention_jax.training.placement import (
    ONE_DEVICE,
    Placement,
    any_process,
)
from attention_jax.training.preparation import Experiment
from attention_jax.training.profile import Profile
from attention_jax.training.progress import Progress
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.state import TrainState
from attention_jax.training.step import make_train_step

Log = Callable[[dict[str, Any]], None]


class Session(NamedTuple):
    """What stays the same from one start of training to its end.

    Attributes:
      experiment: data, model and optimiser.
      run: where rows of metrics and samples are written.
      checkpoints: where the state is saved.
      placement: on which devices.
      log: receives each row.
      should_stop: asked after every step.
    """

    experiment: Experiment
    run: RunDirectory
    checkpoints: Checkpoints
    placement: Placement
    log: Log
    should_stop: Callable[[], bool]


def run_steps(session: Session, state: TrainState, progress: Progress) -> TrainResult:
    """Trains from `state` to the end of the run.

    Raises:
      NonFiniteLossError: the loss or a gradient overflowed.
      OSError: the disk is full; what was saved before stays.
    """
    experiment, placement = session.experiment, session.placement
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
            session.log(row)

    step, meter = int(state.step), Meter(progress.meter)
    reason = _reason_to_end(training, progress, step)
    compilations = CompilationCounter(
        "train_step", count=progress.compilations, seconds=progress.compilation_seconds
    )
    profile = Profile(
        session.run.profile_path, first_step=step, steps=experiment.config.profile
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
            reason = _reason_to_end(training, progress, step)
            if alone or step % training.log_every == 0:
                # Clocks and signals differ among processes, which must end together.
                late = any_process(reason == MINUTES)
                reason = MINUTES if late and reason != STEPS else reason
                if any_process(session.should_stop()) and not reason:
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
                record(session.run.metrics_path, row)
                meter.restart()
            on_dev, improved = {}, False
            if last or step % training.eval_every == 0:
                with meter.paused():
                    quality = evaluate(placement.local(state.evaluated_params))
                progress = progress.evaluated(
                    training, step, loss=quality.loss, bleu=quality.bleu
                )
                improved = progress.best_step == step
                on_dev = {"dev_loss": quality.loss, "dev_bleu": quality.bleu}
                state = with_rate(state, training, progress, placement)
                row = {"event": "dev", **where, **quality.scores()}
                row |= {"best_step": progress.best_step, "minutes": progress.minutes}
                record(session.run.metrics_path, row)
                samples = make_samples(experiment, quality, step)
                record(session.run.samples_path, *samples)
                if progress.out_of_patience(training) and not last:
                    reason = PATIENCE
            if reason or improved or step % training.checkpoint_every == 0:
                progress = progress._replace(meter=meter.read())
                with meter.paused():
                    session.checkpoints.save(state, progress, **on_dev)
    return TrainResult(
        step=step,
        minutes=progress.minutes,
        reason=reason,
        best_step=progress.best_step,
        best_loss=progress.best_loss,
    )


def _reason_to_end(training: TrainingConfig, progress: Progress, step: int) -> str:
    return reason_to_end(
        step=step,
        steps=training.steps,
        minutes=progress.minutes,
        max_minutes=training.max_minutes,
        without_gain=progress.without_gain,
        patience=training.early_stopping_patience,
    )


def with_rate(
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
