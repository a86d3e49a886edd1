import math

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training.optimizer import make_optimizer, make_schedule, schedules

ORACLES = {
    "constant": lambda t, warmup, steps: 1.0,
    "cosine": lambda t, warmup, steps: (
        0.5 * (1 + math.cos(math.pi * (t - warmup) / (steps - warmup)))
    ),
    "inverse_sqrt": lambda t, warmup, steps: math.sqrt(max(warmup, 1) / max(t, 1)),
}


@pytest.mark.parametrize("warmup", [0, 1, 10])
@pytest.mark.parametrize("name", schedules.names())
def test_schedule_is_warm_up_then_decay(name, warmup):
    config = TrainingConfig(
        schedule=name, warmup_steps=warmup, steps=40, learning_rate=0.5
    )
    schedule = make_schedule(config)
    for step in range(41):
        share = (
            (step + 1) / warmup if step < warmup else ORACLES[name](step, warmup, 40)
        )
        assert float(schedule(step)) == pytest.approx(0.5 * share, abs=1e-7), step


@pytest.mark.parametrize("name", schedules.names())
def test_schedule_is_finite_when_the_run_is_all_warm_up_and_beyond_its_end(name):
    schedule = make_schedule(TrainingConfig(schedule=name, warmup_steps=50, steps=20))
    rates = [float(schedule(step)) for step in (0, 19, 50, 1000)]
    assert all(0 <= rate <= 1.001 * TrainingConfig().learning_rate for rate in rates)
    assert rates[0] > 0


def config(**changes):
    return TrainingConfig(
        schedule="constant", warmup_steps=0, learning_rate=0.1, **changes
    )


def one_update(optimizer, params, gradients):
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return updates


def test_gradients_are_clipped_to_the_global_norm():
    params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    gradients = {"a": jnp.asarray([6.0, 0.0]), "b": jnp.asarray([8.0])}
    clipped = make_optimizer(config(clip_norm=5.0)).init(params)
    _, state = make_optimizer(config(clip_norm=5.0)).update(gradients, clipped, params)
    first_moment = state[1][0].mu
    np.testing.assert_allclose(first_moment["a"], [0.3, 0.0], rtol=1e-6)
    np.testing.assert_allclose(first_moment["b"], [0.4], rtol=1e-6)
    unclipped = make_optimizer(config(clip_norm=0.0))
    _, state = unclipped.update(gradients, unclipped.init(params), params)
    np.testing.assert_allclose(state[1][0].mu["b"], [0.8], rtol=1e-6)


def test_weight_decay_is_decoupled_and_spares_vectors():
    params = {"matrix": jnp.full((2, 2), 3.0), "bias": jnp.full((2,), 3.0)}
    gradients = {"matrix": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    updates = one_update(make_optimizer(config(weight_decay=0.5)), params, gradients)
    np.testing.assert_allclose(updates["matrix"], -0.1 * 0.5 * 3.0, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0.0)
