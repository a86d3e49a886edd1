"""The masks of workloads: how each is built, and how many pairs it leaves."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from attention_jax import masks

# How many earlier keys a query sees in a sliding window, besides its own.
WINDOW = 256


@dataclasses.dataclass(frozen=True)
class MaskKind:
    """One kind of mask.

    Attributes:
      name: what results call it.
      build: key lengths [B, 1, ...] -> a mask, or None for no mask.
      pairs: (T, S, key lengths) -> allowed pairs of each sequence that has its own length.
    """

    name: str
    build: Callable[[np.ndarray], Any]
    pairs: Callable[[int, int, np.ndarray], np.ndarray]


def _all_pairs(T: int, S: int, lengths: np.ndarray) -> np.ndarray:
    return T * lengths.astype(np.int64)


def _causal_pairs(T: int, S: int, lengths: np.ndarray) -> np.ndarray:
    return np.asarray(np.minimum(np.arange(1, T + 1), S).sum())


def _window_pairs(T: int, S: int, lengths: np.ndarray) -> np.ndarray:
    last = np.minimum(np.arange(T), S - 1)
    first = np.maximum(np.arange(T) - WINDOW, 0)
    return np.asarray(np.maximum(last - first + 1, 0).sum())


full = MaskKind("full", lambda lengths: None, _all_pairs)
causal = MaskKind("causal", lambda lengths: masks.causal(), _causal_pairs)
padded = MaskKind("padded", masks.padding, _all_pairs)
window = MaskKind("window", lambda lengths: masks.window(WINDOW, 0), _window_pairs)
