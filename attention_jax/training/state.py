"""What training changes from step to step, and nothing else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from attention_jax.config import TrainingConfig


class TrainState(NamedTuple):
    """The arrays of a run.

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
    params_rng, _ = run_rngs(seed)
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


def run_rngs(seed: int) -> tuple[jax.Array, jax.Array]:
    """The PRNG keys of a run's parameters and of its dropout."""
    params_rng, dropout_rng = jax.random.split(jax.random.key(seed))
    return params_rng, dropout_rng
