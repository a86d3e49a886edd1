"""Training: starting a run or going on with one, and the loop to its end.

The loop is on the host: batch, step, log, evaluate, checkpoint, stop.
"""

import contextlib
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from attention_jax import data, models
from attention_jax.atomic_write import append_lines, drop_lines_after, write_json
from attention_jax.config import ExperimentConfig, TrainingConfig, check_fields
from attention_jax.data.batches import (
    Examples,
    TrainBatches,
    encode_pairs,
    eval_batches,
    keep_short,
)
from attention_jax.data.codec import TextCodec, build_codecs, load_codecs, save_codecs
from attention_jax.data.sources import load_splits
from attention_jax.data.splits import Splits, split_hash
from attention_jax.errors import UserError
from attention_jax.training import optimizer
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.run_directory import RunDirectory, with_absolute_paths
from attention_jax.training.sharding import DataSharding, any_process, make_sharding
from attention_jax.training.step import (
    Meter,
    MeterSums,
    NonFiniteLossError,
    TrainState,
    init_state,
    make_eval_step,
    make_train_step,
)

Log = Callable[[dict[str, Any]], None]

# Why a run ends: every step is made; dev no longer improves; max_minutes; should_stop.
STEPS, PATIENCE, MINUTES, STOPPED = "steps", "patience", "minutes", "stopped"


class Experiment(NamedTuple):
    """The data, encoded, and the model and optimiser to be trained on it."""

    config: ExperimentConfig
    splits: Splits
    source_codec: TextCodec
    target_codec: TextCodec
    batches: TrainBatches
    dev: Examples
    model: models.Model
    optimizer: optax.GradientTransformation


class DevTranslations(NamedTuple):
    """What the evaluation given to `train` found on the dev set."""

    scores: dict[str, float]  # "bleu" is what `config.training.best_by` may choose by
    translations: Sequence[str]  # of the first dev sentences, in order


EvaluateParams = Callable[[Any], DevTranslations]


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
        return self.reason != STOPPED


class Progress(NamedTuple):
    """What a resumed run needs to know besides the arrays; checkpoints keep it as JSON."""

    minutes: float = 0.0  # so far; compilation and dev evaluation included
    best_loss: float = math.inf  # dev loss where the run was best, nats per token
    best_step: int = 0  # where that was, 0: nowhere yet
    compilations: int = 0
    best_bleu: float = -math.inf  # dev BLEU where the run was best
    without_gain: int = 0  # evaluations since then
    meter: MeterSums = MeterSums()  # since the last line of the log

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Progress":
        """The progress whose `_asdict()` was stored, whichever version wrote it."""
        known = {name: values[name] for name in cls._fields if name in values}
        return cls(**known | {"meter": MeterSums(*values.get("meter", ()))})

    def evaluated(
        self, training: TrainingConfig, step: int, *, loss: float, bleu: float
    ) -> "Progress":
        """One evaluation on the dev set later: the best so far, and the patience left."""
        by_bleu = training.best_by == "bleu"
        if bleu > self.best_bleu if by_bleu else loss < self.best_loss:
            return self._replace(
                best_loss=loss, best_bleu=bleu, best_step=step, without_gain=0
            )
        return self._replace(without_gain=self.without_gain + 1)

    def reason_to_end(self, training: TrainingConfig, step: int) -> str:
        """Why a run ends after `step` updates, "" if it goes on."""
        if step >= training.steps:
            return STEPS
        if 0 < training.early_stopping_patience <= self.without_gain:
            return PATIENCE
        return MINUTES if 0.0 < training.max_minutes <= self.minutes else ""


class Session(NamedTuple):
    """What stays the same from one start of training to its end."""

    experiment: Experiment
    run: RunDirectory
    checkpoints: Checkpoints
    sharding: DataSharding
    evaluate: EvaluateParams | None  # None: only the dev loss is evaluated
    log: Log
    should_stop: Callable[[], bool]

    def record(self, path: pathlib.Path, *rows: dict[str, Any]) -> None:
        """Writes rows of metrics or samples, and logs them."""
        if jax.process_index() == 0:
            append_lines(path, rows)
        for row in rows:
            self.log(row)


def prepare(
    config: ExperimentConfig, *, codecs_path: pathlib.Path | None = None
) -> Experiment:
    """Loads and encodes the data and builds the model; writes nothing.

    `codecs_path` has the codecs of a run begun before; by default they are built from the
    training pairs.
    """
    splits = load_splits(config.data)
    if codecs_path:
        codecs = load_codecs(codecs_path)
    else:
        codecs = build_codecs(config.data, splits.train)
    limits = config.data.max_source_length, config.data.max_target_length
    examples = keep_short(encode_pairs(splits.train, *codecs), *limits)
    if len(examples) == 0:
        raise UserError(
            f"no training pair is left: config.data.max_source_length {limits[0]} and "
            f"config.data.max_target_length {limits[1]} leave out all {len(splits.train)}"
        )
    if not splits.dev:
        raise UserError("there are no dev pairs: config.data.num_dev is too small")
    batches = TrainBatches(
        examples,
        batch_size=config.training.batch_size,
        seed=config.seed,
        num_buckets=config.data.num_buckets,
    )
    sizes = [len(codec.vocabulary) for codec in codecs]
    return Experiment(
        config,
        splits,
        *codecs,
        batches,
        dev=encode_pairs(splits.dev, *codecs),
        model=models.build_model(config.model, *sizes),
        optimizer=optimizer.make_optimizer(config.training),
    )


def describe(experiment: Experiment, params: Any) -> dict[str, Any]:
    """The facts about data and model that belong beside any result."""
    splits, batches = experiment.splits, experiment.batches
    return {
        "seed": experiment.config.seed,
        "split_hash": split_hash(splits),
        "pairs": {n: len(getattr(splits, n)) for n in ("train", "dev", "test")},
        "data": dict(splits.report),
        "source_vocabulary": len(experiment.source_codec.vocabulary),
        "target_vocabulary": len(experiment.target_codec.vocabulary),
        "parameters": sum(array.size for array in jax.tree.leaves(params)),
        "steps_per_epoch": batches.steps_per_epoch,
        "batch_shapes": [list(shape) for shape in batches.shapes],
        "padding_share": batches.padding_share,
    }


def check_config(config: ExperimentConfig) -> None:
    """Raises a UserError unless data, model and training can be made from `config`."""
    check_fields(config)
    data.check_config(config.data)
    models.check_config(config.model)
    optimizer.check_config(config.training)


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
      config: of data, model and training; file names may start with ~.
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
    check_config(config)
    if evaluate is None and config.training.best_by == "bleu":
        raise UserError("config.training.best_by is bleu, but nothing evaluates BLEU")
    config = with_absolute_paths(config)
    run, first_process = RunDirectory(workdir), jax.process_index() == 0
    sharding = make_sharding(config.training)
    with contextlib.ExitStack() as held:
        if first_process:
            held.enter_context(run.lock())
        changed = run.changes(config, allowed=allow_changed_config)
        begun = run.exists() and run.codecs_path.is_file()
        experiment = prepare(config, codecs_path=run.codecs_path if begun else None)
        if not allow_changed_config:
            run.check_same_data(experiment.splits)
        if first_process and (changed or not begun):
            run.save_config(config)
        if first_process and not begun:
            codecs = experiment.source_codec, experiment.target_codec
            save_codecs(run.codecs_path, *codecs)
        training = config.training
        checkpoints = Checkpoints(
            run.checkpoints_path,
            keep=training.keep_checkpoints,
            best_by=training.best_by,
        )
        session = Session(
            experiment,
            run,
            held.enter_context(checkpoints),
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
    made = experiment.model, experiment.optimizer
    state = init_state(*made, seed=config.seed, training=config.training)
    state, progress, damaged = checkpoints.resume(state) or (state, {}, {})
    first_step, facts = int(state.step), describe(experiment, state.params)
    if jax.process_index() == 0:
        # What was written between the checkpoint and a kill is written again.
        files = (run.metrics_path, run.samples_path)
        last_step = max(drop_lines_after(path, first_step) for path in files)
        # What a resumed run cannot show later: it is removed or moved now.
        lost = {
            "damaged_checkpoints": damaged,
            "changed_config": changed,
            "begun_again_after": 0 if first_step else last_step,
        }
        facts |= {name: value for name, value in lost.items() if value}
        run.add_session(command, first_step=first_step, **facts)
        session.log({"event": "start", "step": first_step, **facts})
    try:
        return _run_steps(session, state, Progress.from_json(progress))
    except NonFiniteLossError as error:
        error.args = (f"{error}; {_explain(error, session)}",)
        raise


def _explain(error: NonFiniteLossError, session: Session) -> str:
    """The last good checkpoint and what may help; non_finite.json has the batch's pairs."""
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
    return (
        f"{path.name} lists the {len(pairs)} training pairs of its batch; {last}"
        "a lower config.training.learning_rate or config.training.clip_norm may help"
    )


def _run_steps(session: Session, state: TrainState, progress: Progress) -> TrainResult:
    """Trains from `state` to the end of the run."""
    experiment, sharding, run = session.experiment, session.sharding, session.run
    batches, training = experiment.batches, experiment.config.training
    seed, made = experiment.config.seed, (experiment.model, experiment.optimizer)
    train_step: Any = make_train_step(*made, training, seed=seed, sharding=sharding)
    learning_rate = jax.jit(optimizer.make_schedule(training))
    dev_loss = _make_dev_loss(experiment)
    earlier, started = progress, time.perf_counter()
    alone = jax.process_count() == 1
    step, meter = int(state.step), Meter(progress.meter)
    reason = progress.reason_to_end(training, step)
    state = sharding.replicate(state)
    while not reason:
        state, metrics = train_step(state, sharding.shard_batch(batches.at(step)))
        step += 1
        meter.add(step, metrics)
        progress = progress._replace(
            minutes=earlier.minutes + (time.perf_counter() - started) / 60.0,
            compilations=earlier.compilations + train_step._cache_size(),
        )
        reason = progress.reason_to_end(training, step)
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
                "learning_rate": float(learning_rate(before)),
                "compilations": progress.compilations,
                "minutes": progress.minutes,
            }
            session.record(run.metrics_path, row)
        measured = {}
        if last or step % training.eval_every == 0:
            with meter.paused():
                params = sharding.local(state.evaluated_params)
                scores, translations = dev_loss(params), ()
                if session.evaluate:
                    found = session.evaluate(params)
                    scores |= found.scores
                    translations = found.translations
            loss, bleu = scores["loss"], scores.get("bleu", -math.inf)
            progress = progress.evaluated(training, step, loss=loss, bleu=bleu)
            measured = {"dev_loss": loss, "dev_bleu": bleu}
            row = {"event": "dev", **where, **scores}
            row |= {"best_step": progress.best_step, "minutes": progress.minutes}
            session.record(run.metrics_path, row)
            shown = zip(experiment.splits.dev, translations, strict=False)
            samples = [
                {
                    "event": "sample",
                    "step": step,
                    "source": pair.source,
                    "reference": pair.target,
                    "hypothesis": translation,
                }
                for pair, translation in [*shown][: training.num_samples]
            ]
            session.record(run.samples_path, *samples)
            if not reason and progress.reason_to_end(training, step) == PATIENCE:
                reason = PATIENCE
        improved = bool(measured) and progress.best_step == step
        if reason or improved or step % training.checkpoint_every == 0:
            progress = progress._replace(meter=meter.read())
            with meter.paused():
                session.checkpoints.save(state, progress._asdict(), **measured)
    return TrainResult(
        step, progress.minutes, reason, progress.best_step, progress.best_loss
    )


def _make_dev_loss(experiment: Experiment) -> Callable[[Any], dict[str, float]]:
    """`params -> {"loss", "accuracy"}` per token of the dev set, with teacher forcing."""
    eval_step = make_eval_step(experiment.model)
    batches = eval_batches(experiment.dev, experiment.config.decoding.batch_size)

    def evaluate(params: Any) -> dict[str, float]:
        per_batch = [eval_step(params, batch) for batch in batches]
        _, cross_entropy, correct, tokens = (
            math.fsum(map(float, column)) for column in zip(*per_batch, strict=True)
        )
        return {"loss": cross_entropy / tokens, "accuracy": correct / tokens}

    return evaluate
