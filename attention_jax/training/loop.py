"""The training loop, on the host: batch, step, log, evaluate, checkpoint, stop."""

import contextlib
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.atomic_write import append_lines
from attention_jax.config import TrainingConfig
from attention_jax.data.batches import eval_batches
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.metrics import (
    NO_SUMS,
    CompilationCounter,
    Meter,
    MeterSums,
)
from attention_jax.training.optimizer import make_schedule
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.setup import Experiment
from attention_jax.training.sharding import DataSharding, any_process
from attention_jax.training.step import TrainState, make_eval_step, make_train_step

Log = Callable[[dict[str, Any]], None]

# Why a run ends: every step is made; dev no longer improves; max_minutes; should_stop.
STEPS, PATIENCE, MINUTES, STOPPED = "steps", "patience", "minutes", "stopped"
# Steps left out of a profile: they compile and fill caches.
PROFILE_WARMUP = 10


class DevTranslations(NamedTuple):
    """What the evaluation given to `train` found on the dev set.

    Attributes:
      scores: by name; "bleu" is what `config.training.best_by` may choose by.
      translations: of the first dev sentences, in order.
    """

    scores: dict[str, float]
    translations: Sequence[str]


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
    compilation_seconds: float = 0.0
    best_bleu: float = -math.inf  # dev BLEU where the run was best
    without_gain: int = 0  # evaluations since then
    reductions: int = 0  # of the learning rate, by the schedule `plateau`
    meter: MeterSums = NO_SUMS  # since the last line of the log

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**self._asdict(), "meter": list(self.meter)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Progress":
        """What `to_json` gave `values` for, whichever version wrote them."""
        known = {name: values[name] for name in cls._fields if name in values}
        return cls(**known | {"meter": MeterSums(*values.get("meter", ()))})

    def evaluated(
        self, training: TrainingConfig, step: int, *, loss: float, bleu: float
    ) -> "Progress":
        """One evaluation on the dev set later: the best so far, and the patience left."""
        by_bleu = training.best_by == "bleu"
        if bleu > self.best_bleu if by_bleu else loss < self.best_loss:
            return self._replace(
                best_loss=loss,
                best_bleu=bleu,
                best_step=step,
                without_gain=0,
            )
        waited = self.without_gain + 1
        reduces = (
            training.schedule == "plateau" and waited % training.plateau_patience == 0
        )
        return self._replace(
            without_gain=waited, reductions=self.reductions + int(reduces)
        )

    def reason_to_end(self, training: TrainingConfig, step: int) -> str:
        """Why a run ends after `step` updates, "" if it goes on."""
        if step >= training.steps:
            return STEPS
        if 0 < training.early_stopping_patience <= self.without_gain:
            return PATIENCE
        return MINUTES if 0.0 < training.max_minutes <= self.minutes else ""


class Session(NamedTuple):
    """What stays the same from one start of training to its end.

    Attributes:
      experiment: data, model and optimiser.
      run: where rows of metrics and samples are written.
      checkpoints: where the state is saved.
      sharding: how arrays lie on the devices.
      evaluate: translates dev sentences; None: only the dev loss is evaluated.
      log: receives each row.
      should_stop: asked after every step.
    """

    experiment: Experiment
    run: RunDirectory
    checkpoints: Checkpoints
    sharding: DataSharding
    evaluate: EvaluateParams | None
    log: Log
    should_stop: Callable[[], bool]

    def record(self, path: pathlib.Path, *rows: dict[str, Any]) -> None:
        """Writes rows of metrics or samples, and logs them."""
        if jax.process_index() == 0:
            append_lines(path, rows)
        for row in rows:
            self.log(row)


def run_steps(session: Session, state: TrainState, progress: Progress) -> TrainResult:
    """Trains from `state` to the end of the run.

    Raises:
      NonFiniteLossError: the loss or a gradient overflowed.
      OSError: the disk is full; what was saved before stays.
    """
    experiment, sharding = session.experiment, session.sharding
    batches, training = experiment.batches, experiment.config.training
    train_step = make_train_step(
        experiment.model,
        experiment.optimizer,
        training,
        seed=experiment.config.seed,
        sharding=sharding,
    )
    learning_rate = jax.jit(make_schedule(training))
    dev_loss = _make_dev_loss(experiment)
    earlier_minutes, started = progress.minutes, time.perf_counter()
    alone = jax.process_count() == 1
    step, meter = int(state.step), Meter(progress.meter)
    reason = progress.reason_to_end(training, step)
    state = sharding.replicate(with_rate(state, training, progress))
    with (
        CompilationCounter(
            "train_step",
            count=progress.compilations,
            seconds=progress.compilation_seconds,
        ) as compilations,
        _profile(session, first_step=step) as before_step,
    ):
        while not reason:
            before_step(step)
            state, metrics = train_step(state, sharding.shard_batch(batches.at(step)))
            step += 1
            meter.add(step, metrics)
            progress = progress._replace(
                minutes=earlier_minutes + (time.perf_counter() - started) / 60.0,
                compilations=compilations.count,
                compilation_seconds=compilations.seconds,
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
                    "learning_rate": float(learning_rate(before))
                    * training.plateau_factor**progress.reductions,
                    "padding_share": batches.padding_share,
                    "compilations": progress.compilations,
                    "compilation_seconds": progress.compilation_seconds,
                    "minutes": progress.minutes,
                }
                session.record(session.run.metrics_path, row)
                meter.restart()
            measured = {}
            if last or step % training.eval_every == 0:
                with meter.paused():
                    params = sharding.local(state.evaluated_params)
                    scores = dev_loss(params)
                    found = session.evaluate(params) if session.evaluate else None
                scores |= found.scores if found else {}
                loss, bleu = scores["loss"], scores.get("bleu", -math.inf)
                progress = progress.evaluated(training, step, loss=loss, bleu=bleu)
                measured = {"dev_loss": loss, "dev_bleu": bleu}
                if state.rate_scale is not None:
                    scale = with_rate(state, training, progress).rate_scale
                    state = state._replace(rate_scale=sharding.replicate(scale))
                row = {"event": "dev", **where, **scores}
                row |= {"best_step": progress.best_step, "minutes": progress.minutes}
                session.record(session.run.metrics_path, row)
                samples = _samples(
                    experiment, found.translations if found else (), step
                )
                session.record(session.run.samples_path, *samples)
                if not reason and progress.reason_to_end(training, step) == PATIENCE:
                    reason = PATIENCE
            improved = bool(measured) and progress.best_step == step
            if reason or improved or step % training.checkpoint_every == 0:
                progress = progress._replace(meter=meter.read())
                with meter.paused():
                    session.checkpoints.save(state, progress.to_json(), **measured)
    return TrainResult(
        step=step,
        minutes=progress.minutes,
        reason=reason,
        best_step=progress.best_step,
        best_loss=progress.best_loss,
    )


def with_rate(
    state: TrainState, training: TrainingConfig, progress: Progress
) -> TrainState:
    """The state with the factor of the learning rate that the evaluations have led to."""
    if state.rate_scale is None:
        return state
    scale = training.plateau_factor**progress.reductions
    return state._replace(rate_scale=jnp.asarray(scale, jnp.float32))


def _make_dev_loss(experiment: Experiment) -> Callable[[Any], dict[str, float]]:
    """`params -> {"loss", "accuracy"}` per token of the dev set, with teacher forcing."""
    eval_step = make_eval_step(experiment.model)
    batches = eval_batches(experiment.dev, experiment.config.decoding.batch_size)

    def evaluate(params: Any) -> dict[str, float]:
        per_batch = [eval_step(params, batch) for batch in batches]

        def total(name: str) -> float:
            return math.fsum(float(getattr(sums, name)) for sums in per_batch)

        tokens = total("tokens")
        return {
            "loss": total("cross_entropy") / tokens,
            "accuracy": total("correct") / tokens,
        }

    return evaluate


def _samples(
    experiment: Experiment, translations: Sequence[str], step: int
) -> list[dict[str, Any]]:
    """The first `num_samples` dev sentences with their translations."""
    shown = translations[: experiment.config.training.num_samples]
    return [
        {
            "event": "sample",
            "step": step,
            "source": pair.source,
            "reference": pair.target,
            "hypothesis": translation,
        }
        for pair, translation in zip(experiment.splits.dev, shown, strict=False)
    ]


@contextlib.contextmanager
def _profile(session: Session, *, first_step: int) -> Iterator[Callable[[int], None]]:
    """Traces `config.profile` steps for TensorBoard and Perfetto.

    Its value is to be called before each step. Leaving it ends the trace.
    """
    begin, tracing = first_step + PROFILE_WARMUP, False
    end = begin + session.experiment.config.profile

    def before_step(step: int) -> None:
        nonlocal tracing
        if step == begin < end:
            path = session.run.profile_path
            jax.profiler.start_trace(path, create_perfetto_trace=True)
            tracing = True
        elif tracing and step == end:
            tracing = False
            jax.profiler.stop_trace()

    try:
        yield before_step
    finally:
        if tracing:
            jax.profiler.stop_trace()
