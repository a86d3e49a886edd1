"""What training changes from step to step, and nothing else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


class TrainState(NamedTuple):
    """The arrays a checkpoint holds.

    No random state: the dropout of a step is a function of the seed and the step.
    """

    step: Int[Array, ""]  # updates made
    params: Any  # nested dict of float32 arrays
    opt_state: optax.OptState


def init_state(
    model, optimizer: optax.GradientTransformation, *, seed: int
) -> TrainState:
    """The state before the first update, a function of `seed` alone."""
    params_rng, _ = run_rngs(seed)
    params = model.init(params_rng)
    return TrainState(
        step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params)
    )


def run_rngs(seed: int) -> tuple[jax.Array, jax.Array]:
    """The PRNG keys of a run's parameters and of its dropout."""
    params_rng, dropout_rng = jax.random.split(jax.random.key(seed))
    return params_rng, dropout_rng
