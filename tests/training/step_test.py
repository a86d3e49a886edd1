import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax.config import TrainingConfig
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.step import (
    Meter,
    NonFiniteLossError,
    StepMetrics,
    TokenSums,
    init_state,
    make_eval_step,
    make_train_step,
    mean_objective,
    token_sums,
)
from tests.training.fakes import bigram_model, random_batch


def table_gradient(table, batch):
    """∂(mean cross entropy)/∂table, token by token in float64."""
    gradient = np.zeros(table.shape)
    for row, length in enumerate(batch.target_lengths):
        for step in range(length):
            token, target = (
                batch.target_inputs[row, step],
                batch.target_outputs[row, step],
            )
            p = np.exp(np.asarray(table[token], np.float64))
            gradient[token] += p / p.sum()
            gradient[token, target] -= 1
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


def run(*, seed, steps):
    start, train_step = dropping(seed)
    state = start()
    for step in range(steps):
        state, _ = train_step(state, random_batch(step))
    return state


def test_training_is_a_function_of_the_seed():
    first, again, other = (run(seed=seed, steps=3) for seed in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    assert np.any(np.asarray(first.params["table"]) != other.params["table"])


def test_the_same_batch_meets_other_dropout_at_another_step():
    start, train_step = dropping(0)
    objectives = []
    for step in (0, 0, 1):
        state = start()._replace(step=np.int32(step))
        _, metrics = train_step(state, random_batch(0))
        objectives.append(float(metrics.sums.objective))
    assert objectives[0] == objectives[1] != objectives[2]


def test_one_compilation_for_each_shape():
    model, optimizer = bigram_model(), optax.sgd(0.5)
    state = init_state(model, optimizer, seed=0)
    train_step = make_train_step(model, optimizer)
    for seed in range(3):
        state, _ = train_step(state, random_batch(seed))
    assert train_step._cache_size() == 1
    train_step(state, random_batch(0, rows=5))
    assert train_step._cache_size() == 2


def test_eval_step_has_no_dropout_and_no_smoothing():
    batch = random_batch(3)
    params = bigram_model().init(jax.random.key(0))
    plain = make_eval_step(bigram_model())(params, batch)
    dropping = make_eval_step(bigram_model(dropout=0.9))(params, batch)
    np.testing.assert_array_equal(plain, dropping)
    assert float(plain.objective) == float(plain.cross_entropy)


def trained(training, batches, *, model=None):
    """The states after each of the batches."""
    model, optimizer = model or bigram_model(), make_optimizer(training)
    state = init_state(model, optimizer, seed=0, training=training)
    train_step, states = make_train_step(model, optimizer, training), []
    for batch in batches:
        state, _ = train_step(state, batch)
        states.append(jax.tree.map(np.array, state))
    return states


def test_accumulating_updates_once_with_the_mean_gradient():
    training = TrainingConfig(accumulate=2, warmup_steps=1, schedule="constant")
    # As many tokens in each, so that the mean of their means is that of all.
    one = random_batch(0)
    two = one._replace(target_outputs=np.where(one.target_outputs == 1, 2, one.source))
    both = type(one)(*(np.concatenate(pair) for pair in zip(one, two, strict=True)))
    states = trained(training, [one, two, one, two])
    start = init_state(bigram_model(), make_optimizer(training), seed=0).params
    np.testing.assert_array_equal(states[0].params["table"], start["table"])
    np.testing.assert_array_equal(states[1].params["table"], states[2].params["table"])
    at_once = trained(TrainingConfig(warmup_steps=1, schedule="constant"), [both, both])
    for accumulated, whole in zip(states[1::2], at_once, strict=True):
        np.testing.assert_allclose(
            accumulated.params["table"], whole.params["table"], atol=1e-6
        )


def test_accumulating_follows_the_schedule_in_steps():
    training = TrainingConfig(
        accumulate=4, schedule="cosine", warmup_steps=0, steps=8, clip_norm=0.0
    )
    tables = [s.params["table"] for s in trained(training, [random_batch(0)] * 8)]
    # Adam's updates with the same gradients have the size of the learning rate, which is
    # half the peak for the second update, made in the middle of the run.
    first = np.abs(tables[3] - tables[0]).max()
    second = np.abs(tables[7] - tables[3]).max()
    assert second == pytest.approx(0.5 * first, rel=0.05)


def test_bfloat16_computes_roughly_and_keeps_float32_weights():
    batches = [random_batch(n) for n in range(20)]
    exact = trained(TrainingConfig(), batches)[-1]
    rough = trained(TrainingConfig(compute_dtype="bfloat16"), batches)[-1]
    chex.assert_trees_all_equal_dtypes(exact, rough)
    np.testing.assert_allclose(rough.params["table"], exact.params["table"], atol=5e-3)
    assert np.any(rough.params["table"] != exact.params["table"])


@pytest.mark.parametrize("accumulate", [1, 3])
def test_averages_follow_the_updates(accumulate):
    training = TrainingConfig(ema_decay=0.9, accumulate=accumulate)
    states = trained(training, [random_batch(n) for n in range(24)])
    start = init_state(bigram_model(), make_optimizer(training), seed=0).params
    expected = np.asarray(start["table"], np.float64)
    for number, state in enumerate(states, 1):
        if number % accumulate == 0:
            t = number // accumulate - 1
            decay = min(0.9, (1 + t) / (10 + t))
            expected = decay * expected + (1 - decay) * state.params["table"]
        np.testing.assert_allclose(state.averages["table"], expected, atol=1e-5)
        assert state.evaluated_params is state.averages


def oracle(logits, targets, lengths, smoothing):
    """Sums over the tokens, one token at a time, in float64."""
    objective = cross_entropy = correct = tokens = 0.0
    for row, length in enumerate(lengths):
        for step in range(length):
            scores = np.asarray(logits[row, step], np.float64)
            log_p = scores - np.log(np.sum(np.exp(scores)))
            target = targets[row, step]
            cross_entropy -= log_p[target]
            objective -= (1 - smoothing) * log_p[target] + smoothing * log_p.mean()
            correct += scores.argmax() == target
            tokens += 1
    return objective, cross_entropy, correct, tokens


def random_case(seed=0):
    random = np.random.default_rng(seed)
    logits = (3 * random.standard_normal((4, 5, 7))).astype(np.float32)
    targets = random.integers(0, 7, (4, 5)).astype(np.int32)
    return logits, targets, np.array([5, 1, 0, 3], np.int32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_sums_are_the_formula(smoothing):
    case = random_case()
    sums = token_sums(*case, label_smoothing=smoothing)
    np.testing.assert_allclose(sums, oracle(*case, smoothing), rtol=1e-6)


def test_padding_in_and_between_rows_count_nothing_not_even_nan():
    logits, targets, lengths = random_case()
    spoilt, other = logits.copy(), targets.copy()
    padding = np.arange(5)[None, :] >= lengths[:, None]
    spoilt[padding] = np.nan
    other[padding] = 6
    expected = token_sums(logits, targets, lengths)
    np.testing.assert_array_equal(token_sums(spoilt, other, lengths), expected)


def test_batch_of_padding_rows_has_objective_and_gradient_zero():
    logits, targets, _ = random_case()
    lengths = np.zeros(4, np.int32)

    def objective(logits):
        return mean_objective(token_sums(logits, targets, lengths))

    value, gradient = jax.value_and_grad(objective)(jnp.asarray(logits))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


class Unread:
    """Stands for a number on the device: tells when it is read."""

    def __init__(self, value, reads):
        self.value, self.reads = value, reads

    def __float__(self):
        self.reads.append(self.value)
        return self.value


def metrics(*, objective=2.0, tokens=4.0, norm=1.0, reads=None):
    reads = [] if reads is None else reads
    numbers = (objective, 3.0, 1.0, tokens)
    return StepMetrics(
        TokenSums(*(Unread(number, reads) for number in numbers)), Unread(norm, reads)
    )


def test_a_step_is_read_when_the_next_is_added():
    meter, reads = Meter(), []
    meter.add(1, metrics(reads=reads))
    assert reads == []
    meter.add(2, metrics())
    assert len(reads) == 5


def test_report_averages_over_tokens_not_steps():
    meter = Meter()
    meter.add(1, metrics(objective=2.0, tokens=4.0, norm=5.0))
    meter.add(2, metrics(objective=10.0, tokens=8.0, norm=1.0))
    report = meter.report()
    assert report["loss"] == pytest.approx(1.0)
    assert report["cross_entropy"] == pytest.approx(0.5)
    assert report["accuracy"] == pytest.approx(2 / 12)
    assert report["gradient_norm"] == 5.0
    meter.add(3, metrics(objective=4.0, tokens=4.0))
    assert meter.report()["loss"] == pytest.approx(1.0)


def test_paused_time_is_not_counted(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    meter = Meter()
    meter.add(1, metrics(tokens=6.0))
    now[0] = 2.0
    with meter.paused():
        now[0] = 100.0
    now[0] = 101.0
    assert meter.report()["tokens_per_second"] == pytest.approx(6.0 / 3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "gradient"])
def test_non_finite_numbers_stop_with_their_own_step(name, value):
    meter = Meter()
    field = {"loss": "objective", "gradient": "norm"}[name]
    meter.add(7, metrics(**{field: value}))
    with pytest.raises(NonFiniteLossError, match=f"{name} of step 7 is {value}"):
        meter.add(8, metrics())
    assert np.isfinite(meter.report()["loss"])
