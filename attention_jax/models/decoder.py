"""The decoder: a recurrent language model that attends to the encoded source."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax.functions.params import fan_in_normal
from attention_jax.models.attention_layer import Attention
from attention_jax.models.dropout import dropout
from attention_jax.models.embedding import init_embedding
from attention_jax.models.linear import linear
from attention_jax.models.memory import DecoderState, Memory
from attention_jax.models.readouts import LinearReadout, TanhReadout
from attention_jax.models.recurrent import Cell, RecurrentLayer
from attention_jax.models.scans import product_with
from attention_jax.models.wirings import (
    Constants,
    Plan,
    Sizes,
    StepInputs,
    Wiring,
)
from attention_jax.types import Array, Float, Int


class Decoder(nnx.Module):
    """Embedding, stacked cells, attention by a wiring, readout, vocabulary projection.

    Args:
      cell: from `cells`. wiring: from `wirings`. readout: from `readouts`; a wiring whose
        features are h̃_t uses `TanhReadout`'s W_c in its step, whatever the readout.
      score, normalizer: what `get_score` and `get_normalizer` take.
      vocabulary: W.
      embedding_size: E.
      source_size: D, the width of the encoder's states.
      size: H of each layer.
      layers: how many are stacked.
      readout_size: the width of h̃_t.
      alignment_size: A of the score, or None for the key size.
      tied_embeddings: the projection is the embedding's transpose.
      dropout_rate: on embeddings, between layers and on the readout's features.
      attention_dropout: on the attention weights.

    Raises:
      ValueError: tied embeddings and a readout of another width.
    """

    def __init__(
        self,
        cell: Cell,
        wiring: Wiring,
        readout: Any,
        *,
        score: Any,
        normalizer: Any,
        vocabulary: int,
        embedding_size: int,
        source_size: int,
        size: int,
        layers: int,
        readout_size: int,
        alignment_size: int | None,
        tied_embeddings: bool,
        dropout_rate: float,
        attention_dropout: float,
        rngs: nnx.Rngs,
    ):
        self.cell = cell
        self.wiring = wiring
        self.dropout_rate = dropout_rate
        self.attention_dropout = attention_dropout
        self.embedding = nnx.Param(init_embedding(rngs, vocabulary, embedding_size))
        sizes = Sizes(source_size, size, readout_size)
        self.layers = nnx.Dict(
            {
                f"layer_{i}": RecurrentLayer(
                    cell,
                    size if i else embedding_size + wiring.feeds(sizes),
                    size,
                    rngs=rngs,
                )
                for i in range(layers)
            }
        )
        if wiring.attends:
            extra = {} if alignment_size is None else {"alignment_size": alignment_size}
            self.attention = Attention(
                size,
                source_size,
                score=score,
                normalizer=normalizer,
                rngs=rngs,
                **extra,
            )
        self.readout: LinearReadout | TanhReadout
        if wiring.attentional:
            self.readout = TanhReadout(source_size + size, readout_size, rngs=rngs)
        else:
            self.readout = readout(wiring.features(sizes), readout_size, rngs=rngs)
        self.tied_embeddings = tied_embeddings
        if not tied_embeddings:
            shape = (self.readout.size, vocabulary)
            self.projection = nnx.Param(
                fan_in_normal(rngs.params(), shape, jnp.float32)
            )
        elif self.readout.size != embedding_size:
            raise ValueError(
                f"tied embeddings need a readout as wide as the embedding, "
                f"{embedding_size}, but it is {self.readout.size} wide"
            )
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
            fed = jnp.zeros((batch, self.readout.size), states.dtype)
        start = DecoderState(cells, fed, jnp.zeros(batch, jnp.int32))
        return Memory(keys, states, lengths, start)

    def __call__(
        self,
        memory: Memory,
        words: Int[Array, "B T"],
        rng: Array | None = None,
    ) -> tuple[Float[Array, "B T W"], Float[Array, "B T S"]]:
        """Logits and weights of every step, given the previous words (teacher forcing)."""
        embedding_rng, between_rng, attention_rng, readout_rng = (
            (None,) * 4 if rng is None else jax.random.split(rng, 4)
        )
        x = jnp.take(self.embedding[...], words.T, axis=0)
        x = dropout(x, self.dropout_rate, embedding_rng)
        inputs = StepInputs(
            self._project(x), self._between(words.T.shape, x.dtype, between_rng), None
        )
        features, weights = self.wiring.unroll(
            self.wiring,
            self._plan(),
            self._weights(),
            self._constants(memory),
            memory.state,
            inputs,
            attention_rng if self.attention_dropout else None,
        )
        return self._logits(features, readout_rng), weights

    def step(
        self, memory: Memory, state: DecoderState, words: Int[Array, " B"]
    ) -> tuple[DecoderState, Float[Array, "B W"], Float[Array, "B S"]]:
        """One step without dropout: the new state, logits and weights."""
        projected = self._project(jnp.take(self.embedding[...], words, axis=0))
        state, (features, weights) = self.wiring.step(
            self._plan(),
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

    def _plan(self) -> Plan:
        if not self.wiring.attends:
            return Plan(self.cell, None, None, 0.0)
        return Plan(
            self.cell,
            self.attention.score,
            self.attention.normalizer,
            self.attention_dropout,
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
        if self.wiring.attentional and isinstance(self.readout, TanhReadout):
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
        if not self.wiring.attentional:
            features = self.readout(features)
        if self.tied_embeddings:
            kernel = self.embedding[...].T
        else:
            kernel = self.projection[...]
        logits = linear(features, kernel, self.projection_bias[...])
        return logits.astype(jnp.float32)
