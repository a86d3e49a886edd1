"""The k largest numbers of a row, exactly: those that `==` and `<` say."""

import jax
import jax.numpy as jnp

from attention_jax.types import Array, Float, Int


def comparable(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """`values` such that `jax.lax.top_k`, which orders bits, orders them as `==` and `<` do.

    One zero for −0, 0 and what the device flushes to zero; one NaN, which comes first as in
    `argmax`, whatever its sign.
    """
    nan = jnp.array(jnp.nan, values.dtype)
    return jnp.where(jnp.isnan(values), nan, jnp.where(values == 0, 0, values))


def top_k(
    values: Float[Array, "... S"], k: int
) -> tuple[Float[Array, "... k"], Int[Array, "... k"]]:
    """The k largest values, largest first, and where they are; ties to the lower index.

    The first is `argmax`'s for every k. The values may be differentiated.
    """
    indices = jax.lax.top_k(comparable(jax.lax.stop_gradient(values)), k)[1]
    return jnp.take_along_axis(values, indices, axis=-1), indices
