"""One update, and one evaluation of the loss: pure functions, jitted."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Float

from attention_jax.training.loss import TokenSums, mean_objective, token_sums
from attention_jax.training.state import TrainState, run_rngs


class StepMetrics(NamedTuple):
    """What one update reports."""

    sums: TokenSums
    gradient_norm: Float[Array, ""]  # before clipping


def make_train_step(
    model,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: float = 0.0,
    seed: int = 0,
) -> Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]:
    """`train_step(state, batch) -> (state, metrics)`: one update of the parameters.

    The state given is donated: its arrays are gone afterwards. Dropout is drawn from
    fold_in(rng of `seed`, state.step), so a resumed run draws what an undisturbed one does.
    Compiled once for each batch shape.
    """

    def train_step(state: TrainState, batch) -> tuple[TrainState, StepMetrics]:
        _, dropout_rng = run_rngs(seed)
        rng = jax.random.fold_in(dropout_rng, state.step)

        def objective(params):
            output = model.apply(params, batch, rng)
            sums = token_sums(
                output.logits,
                batch.target_outputs,
                batch.target_lengths,
                label_smoothing=label_smoothing,
            )
            return mean_objective(sums), sums

        gradients, sums = jax.grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = StepMetrics(sums, optax.tree.norm(gradients))
        return TrainState(state.step + 1, params, opt_state), metrics

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(model) -> Callable[[Any, Any], TokenSums]:
    """`eval_step(params, batch) -> TokenSums`, without dropout or label smoothing."""

    def eval_step(params, batch) -> TokenSums:
        logits = model.apply(params, batch).logits
        return token_sums(logits, batch.target_outputs, batch.target_lengths)

    return jax.jit(eval_step)
