"""Comparing the numbers of a row exactly: the k largest, and how far each is from a maximum."""

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


@jax.custom_jvp
def rounded(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """`values`, of which infinity is the largest number, as they are stored.

    In `a * b - maximum`, a CPU's compiler rounds once, and where the maximum is the same
    a · b, rounded, the difference is not 0 but the rounding error: far from 0 for numbers
    above 2²⁴. In `rounded(a * b) - maximum` it is 0. A barrier of XLA's does not do that.
    """
    return jnp.minimum(values, jnp.finfo(values.dtype).max)


@rounded.defjvp
def _rounded_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return rounded(*primals), tangents[0]


def top_k(
    values: Float[Array, "... S"], k: int
) -> tuple[Float[Array, "... k"], Int[Array, "... k"]]:
    """The k largest values, largest first, and where they are; ties to the lower index.

    The first is `argmax`'s for every k. The values may be differentiated.
    """
    indices = jax.lax.top_k(comparable(jax.lax.stop_gradient(values)), k)[1]
    return jnp.take_along_axis(values, indices, axis=-1), indices
