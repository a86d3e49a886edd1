"""Keys on which a score's `prepare` has been done: once per sentence, not per query."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.checks import check_params, compute_dtype, floating
from attention_jax.functions.batching import map_leading
from attention_jax.functions.score import Score, get_score
from attention_jax.types import Array, ArrayLike, Bool, Float


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["arrays"],
    meta_fields=["score", "core_ndims"],
)
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
    score: Score
    core_ndims: tuple[int, ...]

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

        def clean(leaf: Array, core: int) -> Array:
            expanded = used.reshape(used.shape + (1,) * (core - 1))
            shape = jnp.broadcast_shapes(expanded.shape, leaf.shape)
            expanded = jnp.broadcast_to(expanded, shape)
            return jnp.where(expanded, jnp.broadcast_to(leaf, shape), 0)

        cleaned = [
            clean(*pair) for pair in zip(self.leaves, self.core_ndims, strict=True)
        ]
        tree = jax.tree.structure(self.arrays)
        return dataclasses.replace(self, arrays=jax.tree.unflatten(tree, cleaned))

    def astype(self, dtype: Any) -> "PreparedKeys":
        def cast_floating(leaf: Array) -> Array:
            floats = jnp.issubdtype(leaf.dtype, jnp.floating)
            return leaf.astype(dtype) if floats else leaf

        cast = jax.tree.map(cast_floating, self.arrays)
        return dataclasses.replace(self, arrays=cast)


def prepare_keys(
    score: Any, keys: Float[ArrayLike, "... S K"], params: Any = None
) -> PreparedKeys:
    """Everything a score does that does not depend on the query, done once.

    `attention(query, prepare_keys(score, keys, params), values, score=score,
    params=params)` equals `attention(query, keys, ...)`, so a decoder that attends at
    every step projects its keys once per sentence.

    Args:
      score: anything `get_score` takes.
      keys: [..., S, K].
      params: the score's parameters.

    Returns:
      The prepared keys, computed in promote(keys dtype, float32).

    Raises:
      ValueError: keys have fewer than two axes, or params are missing or misshapen.
      TypeError: keys are not floating-point.

    A NaN in a padded key stays a NaN in its prepared row. `attention` still silences it in
    its outputs and in the gradient of the keys, but the gradient of a parameter used
    in `prepare` sees it here: zero such keys first, or pass raw keys.
    """
    score = get_score(score)
    keys = floating("keys", keys)
    if keys.ndim < 2:
        raise ValueError(f"keys must be [..., S, K], but their shape is {keys.shape}")
    params = check_params(score, params, key_size=keys.shape[-1])
    return run_prepare(score, keys, params, compute_dtype(keys))


def run_prepare(
    score: Score, keys: Array, params: dict[str, Array], dtype: Any
) -> PreparedKeys:
    """`prepare_keys` for checked arguments, in `dtype`."""
    params = {name: value.astype(dtype) for name, value in params.items()}
    arrays = keys.astype(dtype)
    if score.prepare is not None:
        prepare = functools.partial(score.prepare, **params)
        leading = keys.shape[:-2]
        arrays = map_leading(prepare, leading, [arrays], [2])
    leaves = jax.tree.leaves(arrays)
    if not leaves:
        raise ValueError(f"prepare of the score {score.name!r} returned no array")
    core_ndims = tuple(leaf.ndim - (keys.ndim - 2) for leaf in leaves)
    for leaf, core in zip(leaves, core_ndims, strict=True):
        if core < 1 or leaf.shape[leaf.ndim - core] != keys.shape[-2]:
            raise ValueError(
                f"prepare of the score {score.name!r} must return arrays with S first, "
                f"one row per key, but got {leaf.shape[keys.ndim - 2 :]} for "
                f"S = {keys.shape[-2]}"
            )
    return PreparedKeys(arrays, score, core_ndims)
