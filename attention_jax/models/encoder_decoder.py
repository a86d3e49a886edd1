"""The encoder-decoder: encoder, bridge and decoder as one nnx module."""

from typing import Any, NamedTuple

import jax
from flax import nnx

from attention_jax.config import ModelConfig
from attention_jax.models.bridge import Bridge
from attention_jax.models.decoder import Decoder
from attention_jax.models.encoder import Encoder
from attention_jax.models.memory import DecoderState, Memory
from attention_jax.models.readouts import readouts
from attention_jax.models.recurrent import cells
from attention_jax.models.wirings import wirings
from attention_jax.types import Array, Float, Int


class ModelOutput(NamedTuple):
    """What teacher forcing gives.

    Attributes:
      logits: of the next word at every step, float32.
      weights: the attention of every step over the source; 0 without attention.
    """

    logits: Float[Array, "B T W"]
    weights: Float[Array, "B T S"]


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
        cell = cells.get(config.cell)
        self.encoder = Encoder(
            cell,
            vocabulary=source_vocabulary,
            embedding_size=config.embedding_size,
            size=config.encoder_size,
            layers=config.encoder_layers,
            bidirectional=config.bidirectional,
            dropout_rate=config.dropout,
            rngs=rngs,
        )
        source_size = self.encoder.output_size
        self.bridge = Bridge(
            cell, source_size, config.decoder_size, config.decoder_layers, rngs=rngs
        )
        self.decoder = Decoder(
            cell,
            wirings.get(config.attention),
            readouts.get(config.readout),
            score=config.score,
            normalizer=config.normalizer,
            vocabulary=target_vocabulary,
            embedding_size=config.embedding_size,
            source_size=source_size,
            size=config.decoder_size,
            layers=config.decoder_layers,
            readout_size=config.readout_size or config.decoder_size,
            alignment_size=config.alignment_size or None,
            tied_embeddings=config.tied_embeddings,
            dropout_rate=config.dropout,
            attention_dropout=config.attention_dropout,
            rngs=rngs,
        )

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

    def step(
        self, memory: Memory, state: DecoderState, words: Int[Array, " B"]
    ) -> tuple[DecoderState, Float[Array, "B W"], Float[Array, "B S"]]:
        """One step of the decoder from the previous words."""
        return self.decoder.step(memory, state, words)
