"""Forced decoding: the log-probability and attention of a translation that is given."""

import functools

import jax
import jax.numpy as jnp

from attention_jax.data.batches import Batch
from attention_jax.data.vocabulary import EOS, PAD
from attention_jax.decoding.base import Decoded
from attention_jax.decoding.top_k import log_sum_exp
from attention_jax.models.base import Model, Params


@functools.partial(jax.jit, static_argnums=0)
def force_decode(model: Model, params: Params, batch: Batch) -> Decoded:
    """The log-probability and the attention of each of the batch's targets.

        log p(w | source) = Σ_t log p(w_t | w_1..w_{t-1}, source), EOS included

    One pass of teacher forcing, all steps at once. A search that finds these tokens finds
    this log_prob, to rounding.

    Args:
      model: from `build_model`. params: its parameters.
      batch: sources and targets; a row whose target has length 0 is padding, all 0.

    Returns:
      `Decoded`, [B], with the targets as tokens; scores are log_probs.
    """
    logits, weights = model.apply(params, batch)
    targets, lengths = batch.target_outputs, batch.target_lengths
    inside = jnp.arange(targets.shape[1])[None] < lengths[:, None]
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    log_probs = jnp.minimum(chosen - log_sum_exp(logits), 0)
    total = jnp.sum(jnp.where(inside, log_probs, 0), axis=1)
    num_tokens = jnp.sum(inside & (targets != EOS), axis=1)
    return Decoded(
        jnp.where(inside, targets, PAD),
        num_tokens.astype(jnp.int32),
        total,
        total,
        jnp.where(inside[..., None], weights, 0),
    )
