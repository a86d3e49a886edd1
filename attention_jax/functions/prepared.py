"""Precomputed (projected) keys: a score's `prepare` done once per sentence, not per query."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.functions.batching import map_leading
from attention_jax.functions.score import Score
from attention_jax.types import Array, Bool, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PreparedKeys:
    """What `prepare_keys` returns and `attend` and `attention` accept in place of keys.

    Attributes:
      arrays: the score's prepared keys; every leaf is [..., S, *rest].
      score: the score that they were prepared for.
      core_ndims: for each leaf, the number of axes from S on; what precedes is leading,
        also after `vmap` or indexing has taken leading axes away.
    """

    arrays: Any
    score: Score = dataclasses.field(metadata={"static": True})
    core_ndims: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def leaves(self) -> list[Array]:
        return jax.tree.leaves(self.arrays)

    @property
    def length(self) -> int:
        """S."""
        leaf = self.leaves[0]
        return leaf.shape[leaf.ndim - self.core_ndims[0]]

    @property
    def leading(self) -> tuple[int, ...]:
        """The shape of the leading axes."""
        pairs = zip(self.leaves, self.core_ndims, strict=True)
        return jnp.broadcast_shapes(*(x.shape[: x.ndim - n] for x, n in pairs))

    def zero_where_not(self, used: Bool[Array, "... S"]) -> "PreparedKeys":
        """The same with the rows of unused keys replaced by zeros."""
        leaves, tree = jax.tree.flatten(self)
        pairs = zip(leaves, self.core_ndims, strict=True)
        return tree.unflatten(zero_where_not(leaf, used, core) for leaf, core in pairs)

    def astype(self, dtype: Any) -> "PreparedKeys":
        def cast_floating(leaf: Array) -> Array:
            floats = jnp.issubdtype(leaf.dtype, jnp.floating)
            return leaf.astype(dtype) if floats else leaf

        cast = jax.tree.map(cast_floating, self.arrays)
        return dataclasses.replace(self, arrays=cast)


def zero_where_not(array: Array, used: Bool[Array, "... S"], core: int) -> Array:
    """The array, of `core` axes from S on, with the rows of unused keys replaced by zeros."""
    used = used.reshape(used.shape + (1,) * (core - 1))
    shape = jnp.broadcast_shapes(used.shape, array.shape)
    return jnp.where(jnp.broadcast_to(used, shape), jnp.broadcast_to(array, shape), 0)


def run_prepare(
    score: Score, keys: Float[Array, "... S K"], params: dict[str, Array]
) -> PreparedKeys:
    """The keys through the score's `prepare`, over their leading axes."""
    arrays: Any = keys
    leading = keys.shape[:-2]
    if score.prepare is not None:
        cores = score.param_ndims
        leading = jnp.broadcast_shapes(
            leading, *(params[n].shape[: params[n].ndim - c] for n, c in cores.items())
        )
        arrays = map_leading(
            lambda keys, params: score.prepare(keys, **params),
            leading,
            [keys, {name: params[name] for name in cores}],
            [2, cores],
        )
    leaves = jax.tree.leaves(arrays)
    if not leaves:
        raise ValueError(f"prepare of the score {score.name!r} returned no array")
    core_ndims = tuple(leaf.ndim - len(leading) for leaf in leaves)
    for leaf, core in zip(leaves, core_ndims, strict=True):
        if core < 1 or leaf.shape[leaf.ndim - core] != keys.shape[-2]:
            raise ValueError(
                f"prepare of the score {score.name!r} must return arrays with S first, "
                f"one row per key, but got {leaf.shape[len(leading) :]} for "
                f"S = {keys.shape[-2]}"
            )
    return PreparedKeys(arrays, score, core_ndims)
