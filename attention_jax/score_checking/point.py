"""The arguments of one call of a score, and what is differentiated by."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Query, keys and params: what a score is differentiated by.
Data = tuple[Any, Any, dict[str, Any]]


class Point(NamedTuple):
    """The arguments of one call of the score.

    Attributes:
      query: [Q]. keys: [S, K], not prepared. params: by name.
      query_position, key_positions, key_length: of scores with positions.
    """

    query: Any
    keys: Any
    params: dict[str, Any]
    query_position: Any
    key_positions: Any
    key_length: Any

    @property
    def data(self) -> Data:
        return self.query, self.keys, self.params

    def at(self, data: Data) -> "Point":
        """The same with other data."""
        query, keys, params = data
        return self._replace(query=query, keys=keys, params=params)


def parts(data: Data) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of `data` by name: query, keys and each parameter."""
    query, keys, params = data
    for name, value in {"query": query, "keys": keys, **params}.items():
        yield name, np.asarray(value).astype(np.float64)


def zero_points(point: Point) -> dict[str, Point]:
    """The point with zero vectors in the place of its own, by what is zero."""
    no_query, no_keys = jnp.zeros_like(point.query), jnp.zeros_like(point.keys)
    return {
        "a zero query": point._replace(query=no_query),
        "zero keys": point._replace(keys=no_keys),
        "a zero query and zero keys": point._replace(query=no_query, keys=no_keys),
    }


def as_dtype(tree: Any, dtype: Any) -> Any:
    """The tree with its floating-point arrays in another dtype."""

    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
