"""The cases of the contract: which score × normaliser pairs run when, and their arrays."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

import attention_jax as aj

# Normalisers run with these two scores in the fast suite: one matmul, one not.
PAIRED_SCORES = ("scaled_dot", "additive")
# What has to agree with the reference.
IMPLEMENTATIONS = [
    name for name in aj.implementation_names() if name not in ("auto", "reference")
]


def pairs(keep=lambda score, normalizer: True, *, paired=PAIRED_SCORES):
    """Every registered score × normaliser; outside the fast selection marked `full`.

    The fast selection is every score with softmax and every normaliser with `paired`.
    """
    for score in aj.score_names():
        for normalizer in aj.normalizer_names():
            if not keep(score, normalizer):
                continue
            fast = normalizer == "softmax" or score in paired
            marks = () if fast else (pytest.mark.full,)
            yield pytest.param(score, normalizer, marks=marks)


class Arrays(NamedTuple):
    """NumPy arrays of one call without leading axes."""

    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    params: dict[str, np.ndarray]
    mask: np.ndarray


def arrays(score, *, T=5, S=7, size=6, V=4, dtype="float32", seed=0, leading=()):
    """Random arrays; the mask has full, partial and empty rows and one unused key."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal((*leading, *shape)).astype(dtype)

    params = aj.init_score_params(
        jax.random.key(seed), score, query_size=size, key_size=size, alignment_size=5
    )
    mask = rng.random((*leading, T, S)) < 0.7
    if T > 1:
        mask[..., 0, :] = True
        mask[..., -1, :] = False
    if S > 2:
        mask[..., 2] = False
    return Arrays(
        normal(T, size),
        normal(S, size),
        normal(S, V),
        {name: np.asarray(value).astype(dtype) for name, value in params.items()},
        mask,
    )


def as_float64(case: Arrays) -> Arrays:
    return Arrays(
        *(np.asarray(a, np.float64) for a in case[:3]),
        {name: np.asarray(p, np.float64) for name, p in case.params.items()},
        case.mask,
    )


def run(case: Arrays, score, normalizer, **arguments):
    """`attention` on the case, with its mask unless another is given."""
    return aj.attention(
        case.query,
        case.keys,
        case.values,
        score=score,
        normalizer=normalizer,
        params=case.params,
        **{"mask": case.mask, **arguments},
    )
