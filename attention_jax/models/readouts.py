"""From what a decoder step saw to the vector that the vocabulary projection reads."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from attention_jax.functions.params import fan_in_normal
from attention_jax.functions.registry import Registry
from attention_jax.models.linear import linear
from attention_jax.types import Array, Float

# A readout is made by (features_size, size, rngs=...); `size` attribute: its own width.
readouts = Registry[Callable[..., "LinearReadout | TanhReadout"]]("readout")


class LinearReadout(nnx.Module):
    """The features as they are: logits = W [o_t ; s_t] + b. `size` is not used."""

    def __init__(self, features_size: int, size: int, *, rngs: nnx.Rngs):
        del size, rngs
        self.size = features_size

    def __call__(self, features: Float[Array, "... F"]) -> Float[Array, "... F"]:
        return features


class TanhReadout(nnx.Module):
    """The attentional vector: logits = W h̃_t + b, h̃_t = tanh(W_c [o_t ; s_t]).

    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, equation 5.
    """

    def __init__(self, features_size: int, size: int, *, rngs: nnx.Rngs):
        self.size = size
        shape = (features_size, size)
        self.combine = nnx.Param(fan_in_normal(rngs.params(), shape, jnp.float32))

    def __call__(self, features: Float[Array, "... F"]) -> Float[Array, "... R"]:
        return jnp.tanh(linear(features, self.combine[...]))


readouts.register("linear", LinearReadout, function=LinearReadout)
readouts.register("tanh", TanhReadout, function=TanhReadout)
