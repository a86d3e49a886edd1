"""One update of the parameters, and one evaluation of the loss: pure functions, jitted."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from attention_jax.config import TrainingConfig
from attention_jax.training.loss import TokenSums, mean_objective, token_sums
from attention_jax.training.sharding import ONE_DEVICE, DataSharding


class TrainState(NamedTuple):
    """The arrays that training changes from step to step.

    No random state: the dropout of a step is a function of the seed and the step.
    """

    step: Int[Array, ""]  # batches trained on
    params: Any  # nested dict of float32 arrays
    opt_state: optax.OptState
    averages: Any = None  # like params, their moving averages; None without
    rate_scale: Float[Array, ""] | None = None  # times the learning rate; None: 1

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

    Args:
      model, optimizer: whose state.
      seed: of the parameters.
      training: says whether there are averages and a factor of the learning rate; by
        default there are neither.
    """
    params_rng, _ = _run_rngs(seed)
    params = model.init(params_rng)
    state = TrainState(
        step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params)
    )
    if training is not None and training.ema_decay:
        # A copy: donated, no two arrays of a state may share their memory.
        state = state._replace(averages=jax.tree.map(jnp.array, params))
    if training is not None and training.schedule == "plateau":
        state = state._replace(rate_scale=jnp.ones(()))
    return state


def _run_rngs(seed: int) -> tuple[jax.Array, jax.Array]:
    """The PRNG keys of a run's parameters and of its dropout."""
    params_rng, dropout_rng = jax.random.split(jax.random.key(seed))
    return params_rng, dropout_rng


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
    Compiled once for each batch shape.

    Args:
      model, optimizer: what is trained, and how.
      training: label smoothing, the type computed in, the decay of the averages.
      seed: of dropout.
      sharding: where state and batch lie; the loss is that of the whole batch, and so is
        its gradient, however many devices share it.
    """
    training = TrainingConfig() if training is None else training
    dtype = jnp.dtype(training.compute_dtype)

    def train_step(state: TrainState, batch) -> tuple[TrainState, StepMetrics]:
        _, dropout_rng = _run_rngs(seed)
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

        gradients, sums = jax.grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        if state.rate_scale is not None:
            # Adam's update is proportional to the learning rate, weight decay included.
            updates = jax.tree.map(lambda update: state.rate_scale * update, updates)
        params = optax.apply_updates(state.params, updates)
        metrics = StepMetrics(sums, optax.tree.norm(gradients))
        averages = state.averages
        if averages is not None:
            every = training.accumulate
            share = 1.0 - _decay(training.ema_decay, state.step // every)
            if every > 1:
                # The parameters move with every `accumulate`-th batch only.
                share = jnp.where((state.step + 1) % every == 0, share, 0.0)
            averages = jax.tree.map(
                lambda old, new: old + share * (new - old), averages, params
            )
        step = state.step + 1
        return TrainState(step, params, opt_state, averages, state.rate_scale), metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=sharding.replicated)


def _decay(ema_decay: float, updates: Array) -> Float[Array, ""]:
    """min(decay, (1 + t) / (10 + t)): the first averages forget their random start."""
    t = updates.astype(jnp.float32)
    return jnp.minimum(ema_decay, (1.0 + t) / (10.0 + t))


def make_eval_step(model) -> Callable[[Any, Any], TokenSums]:
    """`eval_step(params, batch) -> TokenSums`, without dropout or label smoothing."""

    def eval_step(params, batch) -> TokenSums:
        logits = model.apply(params, batch).logits
        return token_sums(logits, batch.target_outputs, batch.target_lengths)

    return jax.jit(eval_step)
