"""The training loop, on the host: batch, step, log, evaluate, checkpoint."""

import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from attention_jax.configuration import ExperimentConfig
from attention_jax.data.codec import save_codecs
from attention_jax.training.checkpoints import Checkpoints, Progress
from attention_jax.training.compilation import CompilationCounter
from attention_jax.training.development import make_dev_evaluation, make_samples
from attention_jax.training.json_files import append_lines, drop_lines_after
from attention_jax.training.meter import Meter, NonFiniteLossError
from attention_jax.training.optimizer import make_schedule
from attention_jax.training.preparation import Experiment, describe, prepare
from attention_jax.training.resumption import check_same_config, check_same_data
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.state import TrainState, init_state
from attention_jax.training.step import make_train_step
from attention_jax.training.stored_config import with_absolute_paths
from attention_jax.validation import validate

Log = Callable[[dict[str, Any]], None]


class TrainResult(NamedTuple):
    """How a run ended."""

    step: int
    minutes: float  # over all restarts; compilation and dev evaluation included
    finished: bool  # False: max_minutes came before the last step
    best_step: int  # the step with the lowest dev loss, 0 if there is none
    best_loss: float  # that loss, nats per token


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike[str],
    *,
    log: Log = lambda row: None,
    command: Sequence[str] = (),
) -> TrainResult:
    """Trains until `config.training.steps` or `max_minutes`, from the last checkpoint on.

    Called again after an interruption, however violent, with the same configuration it
    ends with the same parameters, bit for bit, as an undisturbed run on that machine: a
    batch and its dropout are functions of the seed and the step. (`max_minutes` is a limit
    by the clock, so where it stops a run is not repeatable.)

    Args:
      config: checked by `validate`; file names may start with ~.
      workdir: the run's directory; made when data and model have been built.
      log: receives each row of metrics, a dict with its kind as "event".
      command: what the run's record says it was started by.

    Raises:
      ChangedRunError: workdir belongs to a run of another configuration or data.
      NonFiniteLossError: the loss or a gradient overflowed; names the step.
      OSError: `workdir` cannot be written, known before any work; a file cannot be read;
        or the disk is full, and what was saved before stays.
      ValueError, LookupError: data or model cannot be built.
    """
    validate(config)
    config = with_absolute_paths(config)
    run = RunDirectory(workdir)
    run.check_writable()
    check_same_config(run, config)
    resumed = run.exists() and run.codecs_path.is_file()
    experiment = prepare(config, codecs_path=run.codecs_path if resumed else None)
    check_same_data(run, experiment.splits)
    state = init_state(experiment.model, experiment.optimizer, seed=config.seed)
    if not resumed:
        run.save_config(config)
        save_codecs(run.codecs_path, experiment.source_codec, experiment.target_codec)
    with Checkpoints(
        run.checkpoints_path, keep=config.training.keep_checkpoints
    ) as checkpoints:
        progress = Progress()
        if checkpoints.steps():
            state, progress = checkpoints.restore(checkpoints.steps()[-1], state)
        first_step = int(state.step)
        for path in (run.metrics_path, run.samples_path):
            # What was written between the checkpoint and a kill is written again.
            drop_lines_after(path, first_step)
        facts = describe(experiment, state.params)
        run.add_session(command, first_step=first_step, **facts)
        log({"event": "start", "step": first_step, **facts})
        try:
            result = run_steps(experiment, state, progress, run, checkpoints, log)
        except NonFiniteLossError as error:
            good = checkpoints.steps()
            last = f"the last good one is step {good[-1]}" if good else "there is none"
            raise NonFiniteLossError(
                f"{error}; of the checkpoints {last}; a lower config.training."
                "learning_rate or config.training.clip_norm may help"
            ) from error
    log({"event": "end", **result._asdict()})
    return result


def run_steps(
    experiment: Experiment,
    state: TrainState,
    progress: Progress,
    run: RunDirectory,
    checkpoints: Checkpoints,
    log: Log,
) -> TrainResult:
    """The loop itself, from `state` to the end of the run."""
    batches, training = experiment.batches, experiment.config.training
    train_step = make_train_step(
        experiment.model,
        experiment.optimizer,
        label_smoothing=training.label_smoothing,
        seed=experiment.config.seed,
    )
    learning_rate = jax.jit(make_schedule(training))
    evaluate = make_dev_evaluation(experiment)
    earlier_minutes, started = progress.minutes, time.perf_counter()

    def record(path: pathlib.Path, *rows: dict[str, Any]) -> None:
        append_lines(path, rows)
        for row in rows:
            log(row)

    def is_last() -> bool:
        out_of_time = 0.0 < training.max_minutes <= progress.minutes
        return step >= training.steps or out_of_time

    step, meter = int(state.step), Meter()
    last = is_last()
    with CompilationCounter(
        "train_step",
        count=progress.compilations,
        seconds=progress.compilation_seconds,
    ) as compilations:
        while not last:
            state, metrics = train_step(state, batches.at(step))
            step += 1
            meter.add(step, metrics)
            progress = progress._replace(
                minutes=earlier_minutes + (time.perf_counter() - started) / 60.0,
                compilations=compilations.count,
                compilation_seconds=compilations.seconds,
            )
            last = is_last()
            where = {"step": step, "epoch": step / batches.steps_per_epoch}
            if last or step % training.log_every == 0:
                row = {
                    "event": "train",
                    **where,
                    **meter.report(),
                    "learning_rate": float(learning_rate(step - 1)),
                    "padding_share": batches.padding_share,
                    "compilations": progress.compilations,
                    "compilation_seconds": progress.compilation_seconds,
                    "minutes": progress.minutes,
                }
                record(run.metrics_path, row)
                meter.restart()
            dev_loss, improved = math.inf, False
            if last or step % training.eval_every == 0:
                with meter.paused():
                    quality = evaluate(state.params)
                dev_loss, improved = quality.loss, quality.loss < progress.best_loss
                if improved:
                    progress = progress._replace(best_loss=dev_loss, best_step=step)
                row = {"event": "dev", **where, **quality.scores()}
                row |= {"best_step": progress.best_step, "minutes": progress.minutes}
                record(run.metrics_path, row)
                record(run.samples_path, *make_samples(experiment, quality, step))
            if last or improved or step % training.checkpoint_every == 0:
                with meter.paused():
                    checkpoints.save(state, progress, dev_loss=dev_loss)
    return TrainResult(
        step=step,
        minutes=progress.minutes,
        finished=step >= training.steps,
        best_step=progress.best_step,
        best_loss=progress.best_loss,
    )
