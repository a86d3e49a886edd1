"""Searching for a translation."""

from attention_jax.decoding.greedy import Decoded, greedy_decode

__all__ = ["Decoded", "greedy_decode"]
