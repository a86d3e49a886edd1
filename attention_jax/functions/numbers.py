"""Numbers that a user gives, checked: constants, integers and arrays."""

from typing import Any

import jax.numpy as jnp


def normal(value: float, dtype: Any) -> float:
    """`value`, moved into the range where it and its reciprocal are normal numbers."""
    least = 4 * float(jnp.finfo(dtype).smallest_normal)
    return min(max(float(value), least), 1 / least)
