"""Dropout as a function: random only where a PRNG key is given."""

import jax
import jax.numpy as jnp

from attention_jax.types import Array, Float


def dropout(
    x: Float[Array, "..."], rate: float, rng: Array | None
) -> Float[Array, "..."]:
    """x with a share `rate` of its entries zeroed and the rest divided by 1 − rate.

    Returns `x` itself if `rng` is None or `rate` is 0. The mean is unchanged.
    """
    if rng is None or rate == 0:
        return x
    kept = jax.random.bernoulli(rng, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x))
