"""Searching for a translation, and scoring one that is given."""

from attention_jax.decoding.base import Decoded
from attention_jax.decoding.beam import Ranking, beam_decode
from attention_jax.decoding.greedy import greedy_decode
from attention_jax.decoding.limits import Limits, length_limits
from attention_jax.decoding.penalties import coverage_penalties, length_penalties
from attention_jax.decoding.sampling import Sampling, sample_decode
from attention_jax.decoding.scoring import force_decode

__all__ = [
    "Decoded",
    "Limits",
    "Ranking",
    "Sampling",
    "beam_decode",
    "coverage_penalties",
    "force_decode",
    "greedy_decode",
    "length_limits",
    "length_penalties",
    "sample_decode",
]
