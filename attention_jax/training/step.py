"""The loss, one update of the parameters, one evaluation, and the sums of a run's steps."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from attention_jax.config import TrainingConfig
from attention_jax.errors import UserError
from attention_jax.training.sharding import ONE_DEVICE, DataSharding


class TokenSums(NamedTuple):
    """Sums over the tokens of a batch; a padding row (target length 0) adds nothing."""

    objective: Float[Array, ""]  # label-smoothed cross entropy, nats
    cross_entropy: Float[Array, ""]  # -log p(token), nats
    correct: Float[Array, ""]  # tokens than which none has a larger logit
    tokens: Float[Array, ""]  # tokens and one end of sentence per target


def token_sums(
    logits: Float[Array, "B T W"],
    targets: Int[Array, "B T"],
    target_lengths: Int[Array, " B"],
    *,
    label_smoothing: float = 0.0,
) -> TokenSums:
    """The sums of the per-token losses over the first `target_lengths` tokens of each row.

        cross_entropy = −log p(y),   p = softmax(logits)
        objective     = (1 − ε) · cross_entropy + ε · mean_w(−log p(w))

    ε = `label_smoothing` in [0, 1) spreads that much of the target's probability evenly
    over the vocabulary (Szegedy et al. 2016); 0 is plain cross entropy. Equal to optax's
    smooth_labels followed by softmax_cross_entropy, without its [B, T, W] one-hot labels.
    """
    steps = jnp.arange(targets.shape[1], dtype=target_lengths.dtype)
    where = steps[None, :] < target_lengths[:, None]
    cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, targets
    )
    objective = cross_entropy
    if label_smoothing:
        uniform = jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1)
        objective = (1.0 - label_smoothing) * cross_entropy + label_smoothing * uniform
    # Several times as fast as comparing argmax, whose reduction carries the indices.
    at_target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    correct = at_target >= jnp.max(logits, axis=-1)

    def total(values: Array) -> Float[Array, ""]:
        return jnp.sum(values.astype(jnp.float32), where=where)

    return TokenSums(
        objective=total(objective),
        cross_entropy=total(cross_entropy),
        correct=total(correct),
        tokens=jnp.sum(where.astype(jnp.float32)),
    )


def mean_objective(sums: TokenSums) -> Float[Array, ""]:
    """What training minimises: the objective per token; 0 for a batch of padding rows."""
    return sums.objective / jnp.maximum(sums.tokens, 1.0)


class TrainState(NamedTuple):
    """The arrays that training changes; dropout is a function of the seed and the step."""

    step: Int[Array, ""]  # batches trained on
    params: Any  # nested dict of float32 arrays
    opt_state: optax.OptState
    averages: Any = None  # like params, their moving averages; None without

    @property
    def evaluated_params(self) -> Any:
        """Those to translate with: the averages where there are any."""
        return self.params if self.averages is None else self.averages


class StepMetrics(NamedTuple):
    """What one update reports."""

    sums: TokenSums
    gradient_norm: Float[Array, ""]  # before clipping


def init_state(
    model,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    training: TrainingConfig | None = None,
) -> TrainState:
    """The state before the first update, a function of `seed` alone.

    `training` says whether there are averages; by default there are none.
    """
    params_rng, _ = jax.random.split(jax.random.key(seed))
    params = model.init(params_rng)
    state = TrainState(
        step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params)
    )
    if training is not None and training.ema_decay:
        # A copy: donated, no two arrays of a state may share their memory.
        state = state._replace(averages=jax.tree.map(jnp.array, params))
    return state


def make_train_step(
    model,
    optimizer: optax.GradientTransformation,
    training: TrainingConfig | None = None,
    *,
    seed: int = 0,
    sharding: DataSharding = ONE_DEVICE,
) -> Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]:
    """`train_step(state, batch) -> (state, metrics)`: one update of the parameters.

    The state given is donated: its arrays are gone afterwards. Dropout is drawn from
    fold_in(rng of `seed`, state.step), so a resumed run draws what an undisturbed one does.
    Compiled once for each batch shape. The loss is that of the whole batch, however many
    devices share it by `sharding`.
    """
    training = TrainingConfig() if training is None else training
    dtype = jnp.dtype(training.compute_dtype)

    def train_step(state: TrainState, batch) -> tuple[TrainState, StepMetrics]:
        _, dropout_rng = jax.random.split(jax.random.key(seed))
        rng = jax.random.fold_in(dropout_rng, state.step)

        def objective(params):
            # The gradient of a cast is cast back: master weights and moments are float32.
            computed = jax.tree.map(lambda array: array.astype(dtype), params)
            output = model.apply(computed, batch, rng)
            sums = token_sums(
                output.logits,
                batch.target_outputs,
                batch.target_lengths,
                label_smoothing=training.label_smoothing,
            )
            return mean_objective(sums), sums

        with sharding.in_use():
            gradients, sums = jax.grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = StepMetrics(sums, optax.tree.norm(gradients))
        averages = state.averages
        if averages is not None:
            # min(decay, (1 + t) / (10 + t)): the first ones forget the random start.
            every = training.accumulate
            t = (state.step // every).astype(jnp.float32)
            share = 1.0 - jnp.minimum(training.ema_decay, (1.0 + t) / (10.0 + t))
            if every > 1:
                # The parameters move with every `accumulate`-th batch only.
                share = jnp.where((state.step + 1) % every == 0, share, 0.0)
            averages = jax.tree.map(
                lambda old, new: old + share * (new - old), averages, params
            )
        return TrainState(state.step + 1, params, opt_state, averages), metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=sharding.replicated)


def make_eval_step(model) -> Callable[[Any, Any], TokenSums]:
    """`eval_step(params, batch) -> TokenSums`, without dropout or label smoothing."""

    def eval_step(params, batch) -> TokenSums:
        logits = model.apply(params, batch).logits
        return token_sums(logits, batch.target_outputs, batch.target_lengths)

    return jax.jit(eval_step)


class NonFiniteLossError(UserError):
    """The loss or the gradient (`what`) of a step was infinite or NaN (`value`)."""

    def __init__(self, what: str, step: int, value: float):
        super().__init__(f"the {what} of step {step} is {value}")
        self.what, self.step, self.value = what, step, value


class MeterSums(NamedTuple):
    """What a meter has added up since it was last restarted."""

    objective: float = 0.0
    cross_entropy: float = 0.0
    correct: float = 0.0
    tokens: float = 0.0
    largest_norm: float = 0.0
    seconds: float = 0.0


class Meter:
    """Adds up the metrics of steps, each read one step late to keep the device busy."""

    def __init__(self, sums: MeterSums = MeterSums()):  # noqa: B008 - immutable
        self._pending: tuple[int, StepMetrics] | None = None
        self._sums, self._since = sums, time.perf_counter()

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Takes the metrics of update number `step`, and reads those of the one before."""
        self._flush()
        self._pending = (step, metrics)

    def _flush(self) -> None:
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        norm = float(metrics.gradient_norm)
        sums = [float(value) for value in metrics.sums]
        for name, value in (("loss", sums[0]), ("gradient", norm)):
            if not math.isfinite(value):
                raise NonFiniteLossError(name, step, value)
        *old, largest, seconds = self._sums
        totals = [before + new for before, new in zip(old, sums, strict=True)]
        self._sums = MeterSums._make([*totals, max(largest, norm), seconds])

    def read(self) -> MeterSums:
        """The sums up to now, for another meter to go on from; waits for the device."""
        self._flush()
        now = time.perf_counter()
        seconds = self._sums.seconds + now - self._since
        self._sums, self._since = self._sums._replace(seconds=seconds), now
        return self._sums

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock for work that is not training; waits for the device first."""
        self.read()
        yield
        self._since = time.perf_counter()

    def report(self) -> dict[str, Any]:
        """The means since the last report, per target token."""
        sums, self._sums = self.read(), MeterSums()
        tokens = max(sums.tokens, 1.0)
        return {
            "loss": sums.objective / tokens,
            "cross_entropy": sums.cross_entropy / tokens,
            "accuracy": sums.correct / tokens,
            "gradient_norm": sums.largest_norm,
            "tokens_per_second": sums.tokens / sums.seconds,
        }
