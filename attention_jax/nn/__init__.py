"""Layers that any model may use: attention, recurrent cells and their scans."""

from attention_jax.nn.attention import Attention
from attention_jax.nn.kv_cache import KVCache
from attention_jax.nn.layers import dropout, linear
from attention_jax.nn.multi_head import MultiHeadAttention
from attention_jax.nn.recurrent import (
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
from attention_jax.nn.scan import recurrent_scan

__all__ = [
    "Attention",
    "Cell",
    "GRUState",
    "KVCache",
    "LSTMState",
    "MultiHeadAttention",
    "RecurrentLayer",
    "cells",
    "dropout",
    "gru_step",
    "linear",
    "lstm_step",
    "recurrent_scan",
    "register_cell",
    "scan_cell",
]
