"""Small models and batches that the model tests share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.config import ModelConfig

SOURCE_VOCABULARY, TARGET_VOCABULARY = 13, 11
WIRINGS = ("after", "input_feeding", "before", "none")


class Batch(NamedTuple):
    """The fields of a batch that a model reads."""

    source: jax.Array
    source_lengths: jax.Array
    target_inputs: jax.Array


def config(**changes) -> ModelConfig:
    """A tiny model: E = 5, encoder 3 a direction, decoder 4."""
    small = {
        "score": "additive",
        "embedding_size": 5,
        "encoder_size": 3,
        "decoder_size": 4,
        "alignment_size": 7,
    }
    return ModelConfig(**{**small, **changes})


def batch(seed=0, lengths=(4, 1, 6), steps=5, source_steps=6) -> Batch:
    """Random words; source rows end at `lengths`, padding is 0."""
    random = np.random.default_rng(seed)
    source = random.integers(4, SOURCE_VOCABULARY, (len(lengths), source_steps))
    source *= np.arange(source_steps) < np.array(lengths)[:, None]
    target = random.integers(4, TARGET_VOCABULARY, (len(lengths), steps))
    target[:, 0] = 1
    return Batch(*(jnp.array(x, jnp.int32) for x in (source, lengths, target)))


def rough(model, seed=0):
    """Parameters of unit scale, biases too, so that no term is near zero or linear."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return rough_like(shapes, seed)


def rough_like(shapes, seed=0):
    """`rough` for any tree of arrays or shapes."""
    leaves, tree = jax.tree.flatten(shapes)
    random = np.random.default_rng(seed)
    fresh = [
        random.normal(size=x.shape) / max(x.shape[0] if x.ndim > 1 else 2, 1) ** 0.5
        for x in leaves
    ]
    return jax.tree.unflatten(
        tree, [jnp.array(new, x.dtype) for new, x in zip(fresh, leaves, strict=True)]
    )


def as_float64(params):
    """The same values, in NumPy float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)
