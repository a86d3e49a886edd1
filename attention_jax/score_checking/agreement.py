"""How far two results are apart, and how far they may be."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Relative to the largest value, by the precision that the score computes in. A mistake is
# off by far more, rounding by far less.
TOLERANCE = {"float64": 1e-9, "float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}


def distance(actual: Any, expected: Any) -> float:
    """The largest difference over pytrees, relative to the largest expected value.

    Equal infinities and NaNs in equal places are no difference; others are infinite.
    """
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    return max((_distance(*pair) for pair in pairs), default=0.0)


def _distance(actual: Any, expected: Any) -> float:
    actual, expected = _wide(actual), _wide(expected)
    if actual.shape != expected.shape:
        return np.inf
    differs = (actual != expected) & ~(np.isnan(actual) & np.isnan(expected))
    if not differs.any():
        return 0.0
    if not np.isfinite([actual[differs], expected[differs]]).all():
        return np.inf
    largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0)
    return float(np.max(np.abs(actual - expected)[differs]) / (largest or 1))


def tolerance(dtype: Any) -> float:
    """How far apart two ways to the same result may be in a precision."""
    return TOLERANCE.get(str(jnp.dtype(dtype)), 1e-3)


def _wide(value: Any) -> np.ndarray:
    return np.asarray(value).astype(np.float64)
