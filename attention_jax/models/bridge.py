"""The bridge: the encoder's final state to the decoder's first."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from attention_jax.functions.params import fan_in_normal
from attention_jax.models.linear import linear
from attention_jax.models.recurrent import Cell, state_fields


class Bridge(nnx.Module):
    """One learned map per decoder layer and per field of its state.

        c_0 = tanh(W_c [c→ ; c←] + b_c),  h_0 = tanh(W_h [h→ ; h←] + b_h)

    The arrows are the top encoder layer's final states, forward then backward; with one
    direction there is one. A GRU has h alone. Without attention this is all that the
    decoder learns of the source: the bottleneck.

    Source: Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, A.2.2 (from ←h_1 alone).
    """

    def __init__(
        self, cell: Cell, input_size: int, size: int, layers: int, *, rngs: nnx.Rngs
    ):
        self.cell = cell
        shape = (input_size, size)
        self.layers = nnx.Dict(
            {
                f"layer_{i}": nnx.Dict(
                    {
                        field: nnx.Dict(
                            kernel=nnx.Param(
                                fan_in_normal(rngs.params(), shape, jnp.float32)
                            ),
                            bias=nnx.Param(jnp.zeros(size)),
                        )
                        for field in state_fields(cell)
                    }
                )
                for i in range(layers)
            }
        )

    def __call__(self, final: Any) -> tuple[Any, ...]:
        """One initial state per decoder layer, from the encoder's [B, D] fields."""
        return tuple(
            self.cell.state(
                **{
                    field: jnp.tanh(
                        linear(
                            getattr(final, field),
                            maps[field].kernel[...],
                            maps[field].bias[...],
                        )
                    )
                    for field in state_fields(self.cell)
                }
            )
            for maps in self.layers.values()
        )
