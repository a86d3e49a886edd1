"""Searching for a translation, and scoring one that is given."""

from attention_jax.decoding.autoregressive import (
    Sampling,
    force_decode,
    greedy_decode,
    sample_decode,
)
from attention_jax.decoding.base import Decoded, Limits, length_limits
from attention_jax.decoding.beam import Ranking, beam_decode
from attention_jax.decoding.penalties import coverage_penalties, length_penalties
from attention_jax.decoding.searches import check_config, register_search

__all__ = [
    "Decoded",
    "Limits",
    "Ranking",
    "Sampling",
    "beam_decode",
    "check_config",
    "coverage_penalties",
    "force_decode",
    "greedy_decode",
    "length_limits",
    "length_penalties",
    "register_search",
    "sample_decode",
]
