import functools

import chex
import jax
import numpy as np
import optax
import pytest

from attention_jax.configuration import TrainingConfig
from attention_jax.training.compilation import CompilationCounter
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.state import init_state
from attention_jax.training.step import make_eval_step, make_train_step
from tests.training.fakes import bigram_model, random_batch


def table_gradient(table, batch):
    """∂(mean cross entropy)/∂table, token by token in float64."""
    gradient = np.zeros(table.shape)
    for row, length in enumerate(batch.target_lengths):
        for step in range(length):
            word, target = (
                batch.target_inputs[row, step],
                batch.target_outputs[row, step],
            )
            p = np.exp(np.asarray(table[word], np.float64))
            gradient[word] += p / p.sum()
            gradient[word, target] -= 1
    return gradient / batch.target_lengths.sum()


def test_one_step_follows_the_gradient():
    model, optimizer, batch = bigram_model(), optax.sgd(0.5), random_batch(0)
    state = init_state(model, optimizer, seed=1)
    table = np.array(state.params["table"])
    gradient = table_gradient(table, batch)
    state, metrics = make_train_step(model, optimizer)(state, batch)
    np.testing.assert_allclose(state.params["table"], table - 0.5 * gradient, atol=1e-6)
    assert int(state.step) == 1
    norm = np.sqrt(np.sum(gradient**2))
    assert float(metrics.gradient_norm) == pytest.approx(norm, rel=1e-5)
    assert float(metrics.sums.tokens) == batch.target_lengths.sum()


@functools.cache
def dropping(seed):
    """A model with dropout and its training step, compiled once for all tests."""
    model, optimizer = bigram_model(dropout=0.5), make_optimizer(TrainingConfig())
    start = functools.partial(init_state, model, optimizer, seed=seed)
    return start, make_train_step(model, optimizer, seed=seed)


def run(*, seed, steps, state=None):
    start, train_step = dropping(seed)
    state = start() if state is None else state
    for step in range(int(state.step), steps):
        state, _ = train_step(state, random_batch(step))
    return state


def test_training_is_a_function_of_the_seed():
    first, again = run(seed=0, steps=3), run(seed=0, steps=3)
    other = run(seed=1, steps=3)
    np.testing.assert_array_equal(first.params["table"], again.params["table"])
    assert np.any(np.asarray(first.params["table"]) != other.params["table"])


def test_a_continued_run_equals_an_undisturbed_one():
    halfway = jax.tree.map(np.asarray, run(seed=0, steps=2))
    continued, undisturbed = run(seed=0, steps=5, state=halfway), run(seed=0, steps=5)
    chex.assert_trees_all_equal(continued, undisturbed)


def test_the_same_batch_meets_other_dropout_at_another_step():
    start, train_step = dropping(0)
    objectives = []
    for step in (0, 0, 1):
        state = start()._replace(step=np.int32(step))
        _, metrics = train_step(state, random_batch(0))
        objectives.append(float(metrics.sums.objective))
    assert objectives[0] == objectives[1] != objectives[2]


def test_state_is_donated():
    model, optimizer = bigram_model(), optax.sgd(0.5)
    state = init_state(model, optimizer, seed=0)
    make_train_step(model, optimizer)(state, random_batch(0))
    assert state.params["table"].is_deleted()


def test_one_compilation_for_each_shape():
    model, optimizer = bigram_model(), optax.sgd(0.5)
    state = init_state(model, optimizer, seed=0)
    train_step = make_train_step(model, optimizer)
    with CompilationCounter("train_step") as compilations:
        for seed in range(3):
            state, _ = train_step(state, random_batch(seed))
        assert compilations.count == 1
        state, _ = train_step(state, random_batch(0, rows=5))
        assert compilations.count == 2
        assert compilations.seconds > 0
    state, _ = train_step(state, random_batch(0, rows=7))
    assert compilations.count == 2


def test_eval_step_has_no_dropout_and_no_smoothing():
    batch = random_batch(3)
    params = bigram_model().init(jax.random.key(0))
    plain = make_eval_step(bigram_model())(params, batch)
    dropping = make_eval_step(bigram_model(dropout=0.9))(params, batch)
    np.testing.assert_array_equal(plain, dropping)
    assert float(plain.objective) == float(plain.cross_entropy)
