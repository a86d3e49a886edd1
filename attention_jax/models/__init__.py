"""Recurrent encoder-decoders with attention wired in one of several ways."""

from attention_jax.models.attention_layer import Attention
from attention_jax.models.bridge import Bridge
from attention_jax.models.decoder import Decoder
from attention_jax.models.encoder import Encoded, Encoder
from attention_jax.models.encoder_decoder import EncoderDecoder, ModelOutput
from attention_jax.models.functional import Model, build_model
from attention_jax.models.memory import DecoderState, Memory
from attention_jax.models.readouts import LinearReadout, TanhReadout
from attention_jax.models.recurrent import (
    Cell,
    GRUState,
    LSTMState,
    RecurrentLayer,
    cells,
    gru_step,
    lstm_step,
    register_cell,
    scan_cell,
)
from attention_jax.models.scans import plain_scan, recurrent_scan
from attention_jax.models.wirings import (
    Wiring,
    register_wiring,
)

__all__ = [
    "Attention",
    "Bridge",
    "Cell",
    "Decoder",
    "DecoderState",
    "Encoded",
    "Encoder",
    "EncoderDecoder",
    "GRUState",
    "LSTMState",
    "LinearReadout",
    "Memory",
    "Model",
    "ModelOutput",
    "RecurrentLayer",
    "TanhReadout",
    "Wiring",
    "build_model",
    "cells",
    "gru_step",
    "lstm_step",
    "plain_scan",
    "recurrent_scan",
    "register_cell",
    "register_wiring",
    "scan_cell",
]
