"""The recurrent encoder-decoder: encoder, bridge and decoder as nnx modules."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax.config import ModelConfig
from attention_jax.functions.params import fan_in_normal
from attention_jax.models.attention_wiring import Memory
from attention_jax.models.base import ModelOutput
from attention_jax.models.decoder import Decoder
from attention_jax.nn.layers import dropout, init_embedding, linear
from attention_jax.nn.recurrent import (
    RecurrentLayer,
    cells,
    scan_both_ways,
    state_fields,
    zero_state,
)
from attention_jax.types import Array, Float, Int


class Encoded(NamedTuple):
    """An encoded sentence.

    Attributes:
      states: h_1..h_S, zero at padding; D is H, or 2H for two directions (forward first).
      final: the top layer's last valid state, the directions side by side.
    """

    states: Float[Array, "B S D"]
    final: Any


class Encoder(nnx.Module):
    """Embedding and stacked LSTM or GRU layers, in one direction or both.

    Layer l reads both directions of layer l − 1. The backward direction reads the sentence
    from its last valid token to its first. Dropout is on embeddings and between layers.
    """

    def __init__(self, config: ModelConfig, vocabulary: int, *, rngs: nnx.Rngs):
        self.cell = cells.get(config.cell)
        self.size = config.encoder_size
        self.dropout_rate = config.dropout
        both = ("forward", "backward")
        self.directions = both if config.bidirectional else both[:1]
        self.embedding = nnx.Param(
            init_embedding(rngs.params(), vocabulary, config.embedding_size)
        )
        self.layers = nnx.Dict()
        for i in range(config.encoder_layers):
            below = self.output_size if i else config.embedding_size
            self.layers[f"layer_{i}"] = nnx.Dict(
                {
                    direction: RecurrentLayer(self.cell, below, self.size, rngs=rngs)
                    for direction in self.directions
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


class Bridge(nnx.Module):
    """The decoder's first state: one learned map per layer and per field of its state.

        c_0 = tanh(W_c [c→ ; c←] + b_c),  h_0 = tanh(W_h [h→ ; h←] + b_h)

    The arrows are the top encoder layer's final states, forward then backward; with one
    direction there is one. A GRU has h alone. Without attention this is all that the
    decoder learns of the source: the bottleneck.

    Source: Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, A.2.2 (from ←h_1 alone).
    """

    def __init__(self, config: ModelConfig, input_size: int, *, rngs: nnx.Rngs):
        self.cell = cells.get(config.cell)
        shape = (input_size, config.decoder_size)

        def new_map() -> nnx.Dict:
            kernel = fan_in_normal(rngs.params(), shape, jnp.float32)
            return nnx.Dict(
                kernel=nnx.Param(kernel), bias=nnx.Param(jnp.zeros(shape[1]))
            )

        self.layers = nnx.Dict()
        for i in range(config.decoder_layers):
            maps = {field: new_map() for field in state_fields(self.cell)}
            self.layers[f"layer_{i}"] = nnx.Dict(maps)

    def __call__(self, final: Any) -> tuple[Any, ...]:
        """One initial state per decoder layer, from the encoder's [B, D] fields."""

        def first(maps: Any, field: str) -> Array:
            one = maps[field]
            return jnp.tanh(
                linear(getattr(final, field), one.kernel[...], one.bias[...])
            )

        fields = state_fields(self.cell)
        return tuple(
            self.cell.state(**{field: first(maps, field) for field in fields})
            for maps in self.layers.values()
        )


class EncoderDecoder(nnx.Module):
    """A recurrent encoder-decoder with attention, built from a `ModelConfig`.

    Dropout is applied exactly where a PRNG key is passed; the module stores none.
    """

    def __init__(
        self,
        config: ModelConfig,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        rngs: nnx.Rngs,
    ):
        self.encoder = Encoder(config, source_vocabulary, rngs=rngs)
        source_size = self.encoder.output_size
        self.bridge = Bridge(config, source_size, rngs=rngs)
        self.decoder = Decoder(config, source_size, target_vocabulary, rngs=rngs)

    def encode(
        self,
        source: Int[Array, "B S"],
        source_lengths: Int[Array, " B"],
        rng: Array | None = None,
    ) -> Memory:
        """The source as the decoder reads it."""
        encoded = self.encoder(source, source_lengths, rng)
        return self.decoder.remember(
            encoded.states, source_lengths, self.bridge(encoded.final)
        )

    def __call__(self, batch: Any, rng: Array | None = None) -> ModelOutput:
        """Teacher forcing on a `Batch`; only its source and target_inputs are read."""
        encoder_rng, decoder_rng = (
            (None, None) if rng is None else jax.random.split(rng)
        )
        memory = self.encode(batch.source, batch.source_lengths, encoder_rng)
        return ModelOutput(*self.decoder(memory, batch.target_inputs, decoder_rng))
