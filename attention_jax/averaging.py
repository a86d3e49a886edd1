"""The third stage: weights and values to one context vector."""

import jax.numpy as jnp

from attention_jax.checks import floating
from attention_jax.types import Array, Float


def average(
    weights: Float[Array, "... S"], values: Float[Array, "... S V"]
) -> Float[Array, "... V"]:
    """The weighted average of S values: as wide as one value, however many there are.

        o = Σ_i a_i v_i

    A weight of 0 does not silence a NaN or an infinity in its value (0 · NaN is NaN);
    `attend` and `attention` therefore replace what is masked for every query by zeros
    before they call this.

    Args:
      weights: a, usually summing to 1.
      values: v_1..v_S; leading axes broadcast against the weights'.

    Returns:
      o, in the weights' dtype; 0 if S = 0.

    Raises:
      ValueError: the numbers of weights and values differ.
      TypeError: weights or values are not floating-point.

    Cost: 2·S·V FLOPs.
    """
    weights, values = floating("weights", weights), floating("values", values)
    if weights.ndim < 1 or values.ndim < 2 or weights.shape[-1] != values.shape[-2]:
        raise ValueError(
            "average needs weights [..., S] and values [..., S, V] with one S, "
            f"but got weights {weights.shape} and values {values.shape}"
        )
    return jnp.einsum("...s,...sv->...v", weights, values.astype(weights.dtype))
