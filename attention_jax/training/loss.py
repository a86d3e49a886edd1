"""The training objective: cross entropy averaged over the target's tokens."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


class TokenSums(NamedTuple):
    """Sums over the tokens of one batch; sums of several batches add up.

    Means are sums / `tokens`. A padding row (target length 0) adds nothing.
    """

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
