import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax.training.loss import mean_objective, token_sums


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


def test_smoothing_is_optax_smooth_labels():
    logits, targets, _ = random_case()
    labels = optax.losses.smooth_labels(jax.nn.one_hot(targets, 7), 0.2)
    expected = optax.losses.safe_softmax_cross_entropy(jnp.asarray(logits), labels)
    lengths = np.full(4, 5, np.int32)
    sums = token_sums(logits, targets, lengths, label_smoothing=0.2)
    np.testing.assert_allclose(sums.objective, jnp.sum(expected), rtol=1e-5)


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


def test_gradient_is_softmax_minus_one_hot_per_token():
    logits, targets, lengths = random_case()

    def objective(logits):
        return mean_objective(token_sums(logits, targets, lengths))

    gradient = jax.grad(objective)(jnp.asarray(logits))
    expected = np.zeros(logits.shape)
    for row, length in enumerate(lengths):
        for step in range(length):
            p = np.exp(np.asarray(logits[row, step], np.float64))
            expected[row, step] = p / p.sum()
            expected[row, step, targets[row, step]] -= 1
    np.testing.assert_allclose(gradient, expected / lengths.sum(), atol=1e-6)
