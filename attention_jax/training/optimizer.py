"""The optimiser of a configuration, and the learning-rate schedules it can follow."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from attention_jax.config import TrainingConfig
from attention_jax.errors import UserError, named
from attention_jax.functions.registry import Registry

# decay(step, *, warmup_steps, steps) -> the factor in [0, 1] of the peak learning rate at
# `step` >= warmup_steps; `steps` is the run's length.
Decay = Callable[..., Float[Array, ""]]

schedules: Registry[Decay] = Registry("learning-rate schedule")


def register_schedule(name: str) -> Callable[[Decay], Decay]:
    """Makes a decay function available as `config.training.schedule`."""
    return lambda decay: schedules.register(name, decay, function=decay)


@register_schedule("constant")
def constant(step, *, warmup_steps, steps):
    """1: the peak, to the end."""
    return jnp.ones_like(step)


@register_schedule("cosine")
def cosine(step, *, warmup_steps, steps):
    """½ (1 + cos(π (step − warmup) / (steps − warmup))): 1 to 0 over the run
    (Loshchilov & Hutter 2017)."""
    share = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(share, 0.0, 1.0)))


@register_schedule("inverse_sqrt")
def inverse_sqrt(step, *, warmup_steps, steps):
    """sqrt(warmup / step): independent of the run's length (Vaswani et al. 2017)."""
    warmup = float(max(warmup_steps, 1))
    return jnp.sqrt(warmup / jnp.maximum(step, warmup))


def check_config(config: TrainingConfig) -> None:
    """Raises a UserError unless the schedule is registered and the fields agree."""
    with named("config.training.schedule"):
        schedules.get(config.schedule)
    if config.steps % config.accumulate:
        raise UserError(
            "config.training.steps must be a multiple of config.training.accumulate, "
            "because the steps after the last update would have no effect: got "
            f"{config.steps} and {config.accumulate}"
        )


def make_schedule(config: TrainingConfig) -> optax.Schedule:
    """The learning rate as a function of the number of steps already made.

        rate(t) = learning_rate · (t + 1) / warmup_steps       for t < warmup_steps
        rate(t) = learning_rate · decay(t)                     after

    so that the first update already moves.
    """
    decay = schedules.get(config.schedule)
    peak, warmup_steps, steps = config.learning_rate, config.warmup_steps, config.steps

    def learning_rate(count):
        step = jnp.asarray(count).astype(jnp.float32)
        warmup = (step + 1.0) / max(warmup_steps, 1)
        after = decay(step, warmup_steps=warmup_steps, steps=steps)
        return peak * jnp.where(step < warmup_steps, warmup, after)

    return learning_rate


def make_optimizer(config: TrainingConfig) -> optax.GradientTransformation:
    """Adam with the configured schedule, preceded by clipping.

    A gradient whose global norm exceeds `clip_norm` is scaled to it; 0 never scales.
    `weight_decay` is AdamW's, decoupled from the gradient and on matrices only, not on
    biases or scalars; 0 is Adam. (Kingma & Ba 2015; Loshchilov & Hutter 2019.)

    With `accumulate` k > 1 it updates every k-th time it is called, with the mean of the
    k gradients, and follows the schedule in steps all the same.
    """
    schedule, every = make_schedule(config), config.accumulate

    def matrices(params: Any) -> Any:
        return jax.tree.map(lambda array: jnp.ndim(array) >= 2, params)

    clip = optax.clip_by_global_norm(config.clip_norm)
    adam = optax.adamw(
        lambda updates: schedule(updates * every),
        weight_decay=config.weight_decay,
        mask=matrices,
    )
    chain = optax.chain(clip if config.clip_norm else optax.identity(), adam)
    if every > 1:
        chain = optax.MultiSteps(chain, every).gradient_transformation()

    def update(updates, state, params=None):
        # Optax raises a Python float to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)
