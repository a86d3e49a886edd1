"""Layers without state of their own: the affine map, dropout, an embedding's start."""

import jax
import jax.numpy as jnp

from attention_jax.functions.batching import may_be_divided
from attention_jax.types import Array, Float


def linear(
    x: Float[Array, "... F"],
    kernel: Float[Array, "F G"],
    bias: Float[Array, " G"] | None = None,
) -> Float[Array, "... G"]:
    """x W + b over any leading axes, as one two-dimensional product.

    With the leading axes flattened the kernel's gradient is a plain xᵀ ȳ; a product of
    three-dimensional arrays copies x or ȳ first. Where a mesh is set whose devices may
    divide one of those axes they are not flattened, which would gather x on every device.
    """
    y = (x if may_be_divided() else x.reshape(-1, x.shape[-1])) @ kernel
    if bias is not None:
        y = y + jnp.broadcast_to(bias, y.shape)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


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


def init_embedding(rng: Array, vocabulary: int, size: int) -> Float[Array, "W E"]:
    """Normal vectors of expected squared length 1, so that tied logits start small."""
    return jax.random.normal(rng, (vocabulary, size)) * size**-0.5
