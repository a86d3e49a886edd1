"""How an embedding table starts."""

import jax
from flax import nnx

from attention_jax.types import Array, Float


def init_embedding(rngs: nnx.Rngs, vocabulary: int, size: int) -> Float[Array, "W E"]:
    """Normal vectors of expected squared length 1, so that a tied projection starts calm."""
    return jax.random.normal(rngs.params(), (vocabulary, size)) * size**-0.5
