"""The encoder: a sentence of token ids to one state per token."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax.models.dropout import dropout
from attention_jax.models.embedding import init_embedding
from attention_jax.models.recurrent import (
    Cell,
    RecurrentLayer,
    scan_both_ways,
    zero_state,
)
from attention_jax.types import Array, Float, Int


class Encoded(NamedTuple):
    """What the encoder makes of a sentence.

    Attributes:
      states: h_1..h_S, zero at padding; D is H, or 2H for two directions (forward first).
      final: the top layer's last valid state, the directions side by side.
    """

    states: Float[Array, "B S D"]
    final: Any


class Encoder(nnx.Module):
    """Embedding and stacked LSTM or GRU layers, in one direction or both.

    Layer l reads both directions of layer l − 1. The backward direction reads the sentence
    from its last valid token to its first.

    Args:
      cell: from `cells`.
      vocabulary: W.
      embedding_size: E.
      size: H of each direction.
      layers: how many are stacked.
      bidirectional: adds the backward direction to every layer.
      dropout_rate: on embeddings and between layers.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        vocabulary: int,
        embedding_size: int,
        size: int,
        layers: int,
        bidirectional: bool,
        dropout_rate: float,
        rngs: nnx.Rngs,
    ):
        self.cell = cell
        self.size = size
        self.dropout_rate = dropout_rate
        self.directions = ("forward", "backward") if bidirectional else ("forward",)
        self.embedding = nnx.Param(init_embedding(rngs, vocabulary, embedding_size))
        output_size = size * len(self.directions)
        self.layers = nnx.Dict(
            {
                f"layer_{i}": nnx.Dict(
                    {
                        direction: RecurrentLayer(
                            cell, output_size if i else embedding_size, size, rngs=rngs
                        )
                        for direction in self.directions
                    }
                )
                for i in range(layers)
            }
        )

    @property
    def output_size(self) -> int:
        """D, the width of a state h_i."""
        return self.size * len(self.directions)

    def __call__(
        self,
        source: Int[Array, "B S"],
        lengths: Int[Array, " B"],
        rng: Array | None = None,
    ) -> Encoded:
        """The states of every token and the final state; dropout only if `rng` is given.

        A row of length 0 has zero states and a zero final state.
        """
        valid = jnp.arange(source.shape[1])[:, None] < lengths[None]
        x = jnp.take(self.embedding[...], source.T, axis=0)
        start = zero_state(self.cell, source.shape[0], self.size, x.dtype)
        finals: list[Any] = []
        for i, layer in enumerate(self.layers.values()):
            once = None if rng is None else jax.random.fold_in(rng, i)
            x = dropout(x, self.dropout_rate, once)
            ways = [layer[direction] for direction in self.directions]
            if len(ways) == 2:
                x, finals = scan_both_ways(ways[0], ways[1], x, start, valid)
            else:
                x, final = ways[0](x, start, valid)
                finals = [final]
        final = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), *finals)
        return Encoded(jnp.moveaxis(x, 0, 1), final)
