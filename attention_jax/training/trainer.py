"""Starting a run, or going on with one: its directory, its lock, its last checkpoint."""

import contextlib
import os
from collections.abc import Callable, Sequence

import jax

from attention_jax import data, models
from attention_jax.atomic_write import drop_lines_after, write_json
from attention_jax.config import ExperimentConfig, check_fields
from attention_jax.data.codec import save_codecs
from attention_jax.errors import UserError
from attention_jax.training import optimizer
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.loop import (
    EvaluateParams,
    Log,
    Progress,
    Session,
    TrainResult,
    run_steps,
)
from attention_jax.training.metrics import NonFiniteLossError
from attention_jax.training.run_directory import RunDirectory, with_absolute_paths
from attention_jax.training.setup import Experiment, describe, prepare
from attention_jax.training.sharding import make_sharding
from attention_jax.training.step import init_state


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike[str],
    *,
    evaluate: Callable[[Experiment], EvaluateParams] | None = None,
    log: Log = lambda row: None,
    command: Sequence[str] = (),
    allow_changed_config: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Trains until `config.training.steps` or `max_minutes`, from the last checkpoint on.

    `attention_jax.experiment.run_experiment` is this with dev translations evaluated.

    Called again after an interruption, however violent, with the same configuration it
    ends with the same parameters and logs the same metrics, bit for bit, as an undisturbed
    run on that machine: a batch and its dropout are functions of the seed and the step.
    (`max_minutes` is a limit by the clock, so where it stops a run is not repeatable.)

    With several processes, each calls this with the same arguments; they share `workdir`,
    and the first of them writes everything but the checkpoints' arrays.

    Args:
      config: its data, model and training are checked; file names may start with ~.
      workdir: the run's directory.
      evaluate: given data and model, makes the function that translates dev sentences
        with parameters and scores them; by default only the dev loss is evaluated.
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
      UserError: data or model cannot be built.
    """
    check_fields(config)
    data.check_config(config.data)
    models.check_config(config.model)
    optimizer.check_config(config.training)
    if evaluate is None and config.training.best_by == "bleu":
        raise UserError("config.training.best_by is bleu, but nothing evaluates BLEU")
    config = with_absolute_paths(config)
    run, first_process = RunDirectory(workdir), jax.process_index() == 0
    sharding = make_sharding(config.training)
    with contextlib.ExitStack() as held:
        if first_process:
            held.enter_context(run.lock())
        changed = run.changes(config)
        if not allow_changed_config:
            run.check_same_config(config)
        begun = run.exists() and run.codecs_path.is_file()
        experiment = prepare(config, codecs_path=run.codecs_path if begun else None)
        if not allow_changed_config:
            run.check_same_data(experiment.splits)
        if first_process and (changed or not begun):
            run.save_config(config)
        if first_process and not begun:
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
            sharding,
            evaluate(experiment) if evaluate else None,
            log if first_process else lambda row: None,
            should_stop,
        )
        result = _resume(session, command, changed)
    # After the last checkpoint is whole.
    session.log({"event": "end", **result._asdict(), "finished": result.finished})
    return result


def _resume(
    session: Session, command: Sequence[str], changed: list[str]
) -> TrainResult:
    """From the last checkpoint that is whole, or from the start, to the end."""
    experiment, run = session.experiment, session.run
    config, checkpoints = experiment.config, session.checkpoints
    state = init_state(
        experiment.model,
        experiment.optimizer,
        seed=config.seed,
        training=config.training,
    )
    state, progress, damaged = checkpoints.resume(state) or (state, {}, {})
    first_step, facts = int(state.step), describe(experiment, state.params)
    if jax.process_index() == 0:
        for path in (run.metrics_path, run.samples_path):
            # What was written between the checkpoint and a kill is written again.
            drop_lines_after(path, first_step)
        # What a resumed run cannot show later: it is removed or moved now.
        lost = {
            "unfinished_checkpoints": checkpoints.unfinished,
            "damaged_checkpoints": damaged,
            "changed_config": changed,
        }
        facts |= {name: value for name, value in lost.items() if value}
        run.add_session(command, first_step=first_step, **facts)
        session.log({"event": "start", "step": first_step, **facts})
    try:
        return run_steps(session, state, Progress.from_json(progress))
    except NonFiniteLossError as error:
        raise _explained(error, session) from error


def _explained(error: NonFiniteLossError, session: Session) -> NonFiniteLossError:
    """The error with its batch, the last good checkpoint and what may help.

    Writes non_finite.json into the run's directory: the step, what was not finite, and the
    batch's pairs, each with its place among the training pairs.
    """
    experiment, path = session.experiment, session.run.non_finite_path
    batch, train = experiment.batches.at(error.step - 1), experiment.splits.train
    pairs = [
        {"id": int(one), "source": train[one].source, "target": train[one].target}
        for one in batch.example_ids
        if one >= 0
    ]
    if jax.process_index() == 0:
        facts = {"step": error.step, "what": error.what, "value": str(error.value)}
        write_json(path, {**facts, "pairs": pairs})
    steps = session.checkpoints.steps()
    last = f"the last good checkpoint is of step {steps[-1]}; " if steps else ""
    return NonFiniteLossError(
        error.what,
        error.step,
        error.value,
        f"; {path.name} lists the {len(pairs)} training pairs of its batch; {last}"
        "a lower config.training.learning_rate or config.training.clip_norm may help",
    )
