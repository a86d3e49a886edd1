"""The recurrent encoder-decoder: encoder, bridge, readouts and decoder as nnx modules."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax.config import ModelConfig
from attention_jax.functions.params import fan_in_normal
from attention_jax.models.attention_wiring import (
    Constants,
    DecoderState,
    Memory,
    Plan,
    StepInputs,
    wirings,
)
from attention_jax.models.base import ModelOutput
from attention_jax.nn.attention import Attention
from attention_jax.nn.layers import dropout, init_embedding, linear
from attention_jax.nn.recurrent import (
    RecurrentLayer,
    cells,
    scan_both_ways,
    state_fields,
    zero_state,
)
from attention_jax.nn.scan import product_with
from attention_jax.types import Array, Float, Int


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
    ) -> tuple[Float[Array, "B S D"], Any]:
        """The states h_1..h_S, zero at padding, and the top layer's last valid one.

        Two directions stand side by side, forward first; a row of length 0 has zeros.
        """
        valid = jnp.arange(source.shape[1])[:, None] < lengths[None]
        x = jnp.take(self.embedding[...], source.T, axis=0)
        start = zero_state(self.cell, source.shape[0], self.size, x.dtype)
        final: Any = None
        for i, layer in enumerate(self.layers.values()):
            once = None if rng is None else jax.random.fold_in(rng, i)
            x = dropout(x, self.dropout_rate, once)
            ways = [layer[direction] for direction in self.directions]
            if len(ways) == 2:
                x, final = scan_both_ways(ways[0], ways[1], x, start, valid)
            else:
                x, final = ways[0](x, start, valid)
        return jnp.moveaxis(x, 0, 1), final


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
        states = []
        for maps in self.layers.values():
            mapped = {
                field: linear(getattr(final, field), one.kernel[...], one.bias[...])
                for field, one in maps.items()
            }
            states.append(self.cell.state(**jax.tree.map(jnp.tanh, mapped)))
        return tuple(states)


# Whether a W_c stands before the vocabulary projection, by `ModelConfig.readout`.
READOUTS = {"linear": False, "tanh": True}


class Decoder(nnx.Module):
    """Embedding, stacked cells, attention by a wiring, readout, vocabulary projection.

        linear: logits = W [o_t ; s_t] + b
        tanh:   logits = W h̃_t + b,  h̃_t = tanh(W_c [o_t ; s_t])

    A wiring whose features are h̃_t uses W_c in its step, whatever the configured readout.
    Dropout is on embeddings, between layers and on the readout's features;
    `attention_dropout` on the attention weights. With tied embeddings the projection is
    the embedding's transpose. D, `source_size`, is the width of the encoder's states.

    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, equation 5 (h̃_t).
    """

    def __init__(
        self, config: ModelConfig, source_size: int, vocabulary: int, *, rngs: nnx.Rngs
    ):
        cell = cells.get(config.cell)
        self.plan = Plan(cell, None, None, 0.0)
        self.wiring = wirings.get(config.attention)
        self.dropout_rate = config.dropout
        self.tied_embeddings = config.tied_embeddings
        self.embedding = nnx.Param(
            init_embedding(rngs.params(), vocabulary, config.embedding_size)
        )
        size = config.decoder_size
        readout_size = config.readout_size or size
        widths = {"": 0, "context": source_size, "attentional": readout_size}
        lowest = config.embedding_size + widths[self.wiring.feeds]
        self.layers = nnx.Dict()
        for i in range(config.decoder_layers):
            self.layers[f"layer_{i}"] = RecurrentLayer(
                cell, size if i else lowest, size, rngs=rngs
            )
        if self.wiring.attends:
            attention = Attention(
                size,
                source_size,
                score=config.score,
                normalizer=config.normalizer,
                alignment_size=config.alignment_size or source_size,
                rngs=rngs,
            )
            self.attention = attention
            rate = config.attention_dropout
            self.plan = Plan(cell, attention.score, attention.normalizer, rate)

        def matrix(*shape: int) -> nnx.Param:
            return nnx.Param(fan_in_normal(rngs.params(), shape, jnp.float32))

        self.features_size = size + source_size * self.wiring.attends
        self.maps_features = self.wiring.attentional or READOUTS[config.readout]
        if self.maps_features:
            self.readout = nnx.Dict(combine=matrix(self.features_size, readout_size))
            self.features_size = readout_size
        if not self.tied_embeddings:
            self.projection = matrix(self.features_size, vocabulary)
        self.projection_bias = nnx.Param(jnp.zeros(vocabulary))

    def remember(
        self,
        states: Float[Array, "B S D"],
        lengths: Int[Array, " B"],
        cells: tuple[Any, ...],
    ) -> Memory:
        """The source as the decoder reads it: keys prepared once, the state at t = 0."""
        keys = self.attention.prepare(states) if self.wiring.attends else None
        batch = states.shape[0]
        fed = None
        if self.wiring.attentional:
            fed = jnp.zeros((batch, self.features_size), states.dtype)
        start = DecoderState(cells, fed, jnp.zeros(batch, jnp.int32))
        return Memory(keys, states, lengths, start)

    def __call__(
        self,
        memory: Memory,
        tokens: Int[Array, "B T"],
        rng: Array | None = None,
    ) -> tuple[Float[Array, "B T W"], Float[Array, "B T S"]]:
        """Logits and weights of every step, given the previous tokens (teacher forcing)."""
        rngs = (None,) * 4 if rng is None else jax.random.split(rng, 4)
        embedding_rng, between_rng, attention_rng, readout_rng = rngs
        x = jnp.take(self.embedding[...], tokens.T, axis=0)
        x = dropout(x, self.dropout_rate, embedding_rng)
        inputs = StepInputs(
            self._project(x), self._between(tokens.T.shape, x.dtype, between_rng), None
        )
        features, weights = self.wiring.unroll(
            self.wiring,
            self.plan,
            self._weights(),
            self._constants(memory),
            memory.state,
            inputs,
            attention_rng if self.plan.attention_dropout else None,
        )
        return self._logits(features, readout_rng), weights

    def step(
        self, memory: Memory, state: DecoderState, tokens: Int[Array, " B"]
    ) -> tuple[DecoderState, Float[Array, "B W"], Float[Array, "B S"]]:
        """One step without dropout: the new state, logits and weights."""
        projected = self._project(jnp.take(self.embedding[...], tokens, axis=0))
        state, (features, weights) = self.wiring.step(
            self.plan,
            product_with(self._weights()),
            self._constants(memory),
            state,
            StepInputs(projected, (None,) * (len(self.layers) - 1), None),
        )
        return state, self._logits(features, None), weights

    def _project(self, x: Float[Array, "... E"]) -> Float[Array, "... G*H"]:
        """x_t W_x + b: the rows of the lowest layer's matrix that the embedding meets."""
        layer = self.layers["layer_0"]
        return linear(x, layer.w_input[...][: x.shape[-1]], layer.bias[...])

    def _between(
        self, steps: tuple[int, ...], dtype: Any, rng: Array | None
    ) -> tuple[Array | None, ...]:
        """The multipliers of dropout between layers, for all steps."""
        higher = list(self.layers.values())[1:]
        if rng is None or self.dropout_rate == 0:
            return (None,) * len(higher)
        rngs = jax.random.split(rng, max(len(higher), 1))
        return tuple(
            dropout(jnp.ones((*steps, layer.size), dtype), self.dropout_rate, one)
            for layer, one in zip(higher, rngs, strict=False)
        )

    def _weights(self) -> dict[str, Array]:
        """The matrices that a step multiplies with, by the names wirings use."""
        weights = {}
        embedding_size = self.embedding[...].shape[1]
        for i, layer in enumerate(self.layers.values()):
            weights[f"hidden_{i}"] = layer.w_hidden[...]
            if i:
                weights[f"input_{i}"] = layer.w_input[...]
            elif layer.w_input[...].shape[0] > embedding_size:
                weights["feed"] = layer.w_input[...][embedding_size:]
        if self.wiring.attentional:
            weights["combine"] = self.readout.combine[...]
        return weights

    def _constants(self, memory: Memory) -> Constants:
        biases = tuple(
            (layer.bias[...], layer.full_hidden_bias())
            for layer in self.layers.values()
        )
        params = self.attention.arrays() if self.wiring.attends else {}
        return Constants(memory, params, biases)

    def _logits(
        self, features: Float[Array, "... F"], rng: Array | None
    ) -> Float[Array, "... W"]:
        features = dropout(features, self.dropout_rate, rng)
        if self.maps_features and not self.wiring.attentional:
            features = jnp.tanh(linear(features, self.readout.combine[...]))
        tied = self.tied_embeddings
        kernel = self.embedding[...].T if tied else self.projection[...]
        logits = linear(features, kernel, self.projection_bias[...])
        return logits.astype(jnp.float32)


class EncoderDecoder(nnx.Module):
    """A recurrent encoder-decoder with attention; dropout exactly where a key is passed."""

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
        states, final = self.encoder(source, source_lengths, rng)
        return self.decoder.remember(states, source_lengths, self.bridge(final))

    def __call__(self, batch: Any, rng: Array | None = None) -> ModelOutput:
        """Teacher forcing on a `Batch`; only its source and target_inputs are read."""
        first, second = (None, None) if rng is None else jax.random.split(rng)
        memory = self.encode(batch.source, batch.source_lengths, first)
        return ModelOutput(*self.decoder(memory, batch.target_inputs, second))
