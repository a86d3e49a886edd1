"""The k largest numbers of a row, exactly: those that `==` and `<` say."""

import jax
import jax.numpy as jnp

from attention_jax.functions.batching import may_be_divided
from attention_jax.types import Array, Float, Int


def comparable(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """`values` such that `jax.lax.top_k`, which orders bits, orders them as `==` and `<` do.

    One zero for −0, 0 and what the device flushes to zero; one NaN, which comes first as in
    `argmax`, whatever its sign.
    """
    nan = jnp.array(jnp.nan, values.dtype)
    return jnp.where(jnp.isnan(values), nan, jnp.where(values == 0, 0, values))


def select(
    values: Float[Array, "... S"], k: int
) -> tuple[Float[Array, "... k"], Int[Array, "... k"]]:
    """`jax.lax.top_k` of comparable values; by a sort where devices may divide the rows,
    since XLA gathers the rows of a top_k on every device, but not those of a sort.
    """
    if not may_be_divided():
        return tuple(jax.lax.top_k(values, k))
    order = jnp.argsort(values, axis=-1, descending=True, stable=True)[..., :k]
    return jnp.take_along_axis(values, order, axis=-1), order.astype(jnp.int32)


def top_k(
    values: Float[Array, "... S"], k: int
) -> tuple[Float[Array, "... k"], Int[Array, "... k"]]:
    """The k largest values, largest first, and where they are; ties to the lower index.

    The first is `argmax`'s for every k. The values may be differentiated.
    """
    indices = select(comparable(jax.lax.stop_gradient(values)), k)[1]
    return jnp.take_along_axis(values, indices, axis=-1), indices
