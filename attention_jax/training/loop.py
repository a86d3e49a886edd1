"""The training loop, on the host: batch, step, log, evaluate, checkpoint, stop."""

import contextlib
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from attention_jax.atomic_write import append_lines
from attention_jax.config import TrainingConfig
from attention_jax.data.batches import eval_batches
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.metrics import CompilationCounter, Meter, MeterSums
from attention_jax.training.optimizer import make_schedule
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.setup import Experiment
from attention_jax.training.sharding import DataSharding, any_process
from attention_jax.training.step import TrainState, make_eval_step, make_train_step

Log = Callable[[dict[str, Any]], None]

# Why a run ends: every step is made; dev no longer improves; max_minutes; should_stop.
STEPS, PATIENCE, MINUTES, STOPPED = "steps", "patience", "minutes", "stopped"
# Steps left out of a profile: they compile and fill caches.
_PROFILE_WARMUP = 10


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
    meter: MeterSums = MeterSums()  # since the last line of the log

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


def run_steps(session: Session, state: TrainState, progress: Progress) -> TrainResult:
    """Trains from `state` to the end of the run.

    Raises:
      NonFiniteLossError: the loss or a gradient overflowed.
      OSError: the disk is full; what was saved before stays.
    """
    experiment, sharding, run = session.experiment, session.sharding, session.run
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
    first_traced = step + _PROFILE_WARMUP
    last_traced = first_traced + experiment.config.profile
    reason = progress.reason_to_end(training, step)
    state = sharding.replicate(state)
    with (
        CompilationCounter(
            "train_step",
            count=progress.compilations,
            seconds=progress.compilation_seconds,
        ) as compilations,
        contextlib.ExitStack() as trace,
    ):
        while not reason:
            if step == first_traced < last_traced:
                trace.enter_context(
                    jax.profiler.trace(run.profile_path, create_perfetto_trace=True)
                )
            elif step == last_traced:
                trace.close()
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
                    "learning_rate": float(learning_rate(before)),
                    "padding_share": batches.padding_share,
                    "compilations": progress.compilations,
                    "compilation_seconds": progress.compilation_seconds,
                    "minutes": progress.minutes,
                }
                session.record(run.metrics_path, row)
                meter.restart()
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
                    session.checkpoints.save(state, progress.to_json(), **measured)
    return TrainResult(
        step, progress.minutes, reason, progress.best_step, progress.best_loss
    )


def _make_dev_loss(experiment: Experiment) -> Callable[[Any], dict[str, float]]:
    """`params -> {"loss", "accuracy"}` per token of the dev set, with teacher forcing."""
    eval_step = make_eval_step(experiment.model)
    batches = eval_batches(experiment.dev, experiment.config.decoding.batch_size)

    def evaluate(params: Any) -> dict[str, float]:
        per_batch = [eval_step(params, batch) for batch in batches]
        total = {
            name: math.fsum(float(getattr(sums, name)) for sums in per_batch)
            for name in ("cross_entropy", "correct", "tokens")
        }
        return {
            "loss": total["cross_entropy"] / total["tokens"],
            "accuracy": total["correct"] / total["tokens"],
        }

    return evaluate
