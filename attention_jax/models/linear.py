"""An affine map of the last axis."""

from attention_jax.types import Array, Float


def linear(
    x: Float[Array, "... F"],
    kernel: Float[Array, "F G"],
    bias: Float[Array, " G"] | None = None,
) -> Float[Array, "... G"]:
    """x W + b over any leading axes, as one two-dimensional product.

    With the leading axes flattened the kernel's gradient is a plain xᵀ ȳ; a product of
    three-dimensional arrays transposes the result too.
    """
    y = x.reshape(-1, x.shape[-1]) @ kernel
    if bias is not None:
        y = y + bias[None]
    return y.reshape(*x.shape[:-1], kernel.shape[-1])
