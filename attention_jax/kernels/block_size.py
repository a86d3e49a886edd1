"""How many queries a block takes, from what one query's score computes."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from attention_jax.types import Array


def rows_per_block(one_query: Callable[[Array], Any], query: Array, budget: int) -> int:
    """As many queries as keep a block's largest intermediate within `budget` bytes.

    Args:
      one_query: what is computed for a query [Q].
      query: [T, Q]; only its shape and dtype are used.
      budget: in bytes.

    Returns:
      At least 1, at most T.
    """
    single = jax.ShapeDtypeStruct(query.shape[1:], query.dtype)
    largest = largest_dependent_bytes(jax.make_jaxpr(one_query)(single).jaxpr)
    return max(1, min(query.shape[0], budget // max(1, largest)))


def largest_dependent_bytes(jaxpr: Any) -> int:
    """Bytes of the largest array in a jaxpr that depends on its inputs.

    What does not depend on the query, such as features of the keys' positions, is
    computed once for all queries and so does not grow with the block.
    """
    dependent = set(jaxpr.invars)
    largest = 0
    for equation in jaxpr.eqns:
        inputs = [v for v in equation.invars if not hasattr(v, "val")]
        if not any(v in dependent for v in inputs):
            continue
        dependent.update(equation.outvars)
        sizes = [_bytes(v.aval) for v in equation.outvars]
        inner = [largest_dependent_bytes(j) for j in _inner_jaxprs(equation.params)]
        largest = max(largest, *sizes, *inner)
    return largest


def _inner_jaxprs(params: dict[str, Any]) -> list[Any]:
    """The jaxprs inside an equation: those of nested jit, scan, custom derivatives."""
    found = []
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(one, "jaxpr", one)
            if hasattr(inner, "eqns") and hasattr(inner, "invars"):
                found.append(inner)
    return found


def _bytes(aval: Any) -> int:
    return int(np.prod(aval.shape, dtype=np.int64)) * np.dtype(aval.dtype).itemsize
