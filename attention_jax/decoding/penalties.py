"""What a beam's scores are divided by and what is added: length and coverage penalties.

    score(w, source) = log p(w | source) / length_penalty(|w|) + β coverage_penalty(a)

|w| counts EOS. Every length penalty is positive and grows with the length, every coverage
penalty is at most 0: `beam_decode` ends early on the strength of these two promises.
"""

from collections.abc import Callable

import jax.numpy as jnp

from attention_jax.functions.registry import Registry
from attention_jax.types import Array

# (length, alpha) -> what log p is divided by.
LengthPenalty = Callable[[Array, Array], Array]
# (coverage [..., S], valid [..., S]) -> [...], at most 0.
CoveragePenalty = Callable[[Array, Array], Array]

length_penalties = Registry[LengthPenalty]("length penalty")
coverage_penalties = Registry[CoveragePenalty]("coverage penalty")

# What a source word that was never looked at counts as: sparse normalisers give weights of
# exactly 0, and one such word should not make a translation impossible.
LEAST_COVERAGE = 1e-6


def no_length_penalty(length: Array, alpha: Array) -> Array:
    """1: scores are log-probabilities, and so favour short translations."""
    del alpha
    return jnp.ones_like(length)


def gnmt_length_penalty(length: Array, alpha: Array) -> Array:
    """((5 + |w|) / 6)^α, Wu et al., 2016, arxiv.org/abs/1609.08144, equation 14."""
    return ((5.0 + length) / 6.0) ** alpha


def plain_length_penalty(length: Array, alpha: Array) -> Array:
    """|w|^α: with α = 1 the mean log-probability of a word."""
    return length**alpha


def no_coverage_penalty(coverage: Array, valid: Array) -> Array:
    """0."""
    del valid
    return jnp.zeros_like(coverage[..., 0])


def gnmt_coverage_penalty(coverage: Array, valid: Array) -> Array:
    """Σ_s log min(Σ_t a_ts, 1): against source words that were hardly looked at.

    Wu et al., 2016, arxiv.org/abs/1609.08144, equation 14. A word counts as looked at by
    at least `LEAST_COVERAGE`.
    """
    seen = jnp.clip(coverage, LEAST_COVERAGE, 1.0)
    return jnp.sum(jnp.where(valid, jnp.log(seen), 0), axis=-1)


def summary_coverage_penalty(coverage: Array, valid: Array) -> Array:
    """-Σ_s max(Σ_t a_ts - 1, 0): against source words that were looked at repeatedly."""
    return -jnp.sum(jnp.where(valid, jnp.maximum(coverage - 1.0, 0), 0), axis=-1)


for _registry, _name, _function in (
    (length_penalties, "none", no_length_penalty),
    (length_penalties, "gnmt", gnmt_length_penalty),
    (length_penalties, "plain", plain_length_penalty),
    (coverage_penalties, "none", no_coverage_penalty),
    (coverage_penalties, "gnmt", gnmt_coverage_penalty),
    (coverage_penalties, "summary", summary_coverage_penalty),
):
    _registry.register(_name, _function, function=_function)
