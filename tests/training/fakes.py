"""A model and examples small enough to check by hand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.data.batches import Batch
from attention_jax.models.base import Model


class Output(NamedTuple):
    logits: jax.Array
    weights: jax.Array


def bigram_model(vocabulary: int = 6, *, dropout: float = 0.0) -> Model:
    """Logits of a token given the one before: a table."""

    def init(rng):
        return {"table": 0.1 * jax.random.normal(rng, (vocabulary, vocabulary))}

    def apply(params, batch, rng=None):
        logits = params["table"][batch.target_inputs]
        if rng is not None and dropout:
            kept = jax.random.bernoulli(rng, 1.0 - dropout, logits.shape)
            logits = jnp.where(kept, logits, jnp.zeros_like(logits))
        shape = (*batch.target_inputs.shape, batch.source.shape[1])
        return Output(logits, jnp.zeros(shape))

    def missing(*arguments):
        raise AssertionError("training does not decode")

    return Model(init=init, apply=apply, encode=missing, start=missing, step=missing)


def random_batch(seed: int, *, rows: int = 3, padding: int = 1, vocabulary: int = 6):
    """`rows` pairs of 1 to 4 tokens and `padding` padding rows."""
    random = np.random.default_rng(seed)
    total, width = rows + padding, 5
    lengths = np.zeros(total, np.int32)
    lengths[:rows] = random.integers(2, width + 1, rows)
    real = np.arange(width)[None, :] < lengths[:, None]
    tokens = random.integers(1, vocabulary, (total, width)).astype(np.int32)
    outputs = np.where(real, tokens, 0).astype(np.int32)
    inputs = np.roll(outputs, 1, axis=1)
    inputs[:, 0] = np.where(lengths > 0, 1, 0)
    ids = np.where(lengths > 0, np.arange(total), -1).astype(np.int32)
    return Batch(outputs, lengths, inputs, outputs, lengths, ids)
