"""Masks: which keys a query may attend to, as values that combine with `& | ~`.

A mask is written for one query, like a score: `row` gives [S] booleans. Its arrays are
pytree leaves, traced under jit; the axes of each leaf are declared by letters (T queries,
S keys) so that batching slices them without anyone building [..., T, S].
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.types import Array, ArrayLike, Bool, Int


class Mask:
    """True where a query may attend. Combine with `&`, `|`, `~`, also with arrays."""

    # NumPy arrays must leave `array & mask` to us rather than loop over it.
    __array_ufunc__ = None

    def row(
        self, query_position: Int[Array, ""], key_positions: Int[Array, "S"]
    ) -> Bool[Array, "#S"]:
        """The keys that one query may attend to; leaves are sliced to that query."""
        raise NotImplementedError

    def leaf_axes(self) -> tuple[str, ...]:
        """The trailing axes, "", "T", "S" or "TS", of each pytree leaf in order."""
        raise NotImplementedError

    def by_query(self, num_queries: int) -> tuple[bool, ...]:
        """Whether each leaf, in order, has an entry for each of T queries, not one for all."""
        return tuple(
            axes.startswith("T") and leaf.shape[-len(axes)] == num_queries
            for leaf, axes in zip(jax.tree.leaves(self), self.leaf_axes(), strict=True)
        )

    def of_queries(
        self, take: Callable[[Array, int], Array], num_queries: int
    ) -> "Mask":
        """The mask of some of T queries, which `take(array, axis)` takes along their axis."""
        leaves, tree = jax.tree.flatten(self)
        taken = [
            take(leaf, -len(axes)) if by_query else leaf
            for leaf, axes, by_query in zip(
                leaves, self.leaf_axes(), self.by_query(num_queries), strict=True
            )
        ]
        return jax.tree.unflatten(tree, taken)

    def keys_from(self, start: Int[Array, ""], width: int) -> "Mask":
        """The same mask for `width` keys from index `start` on; no leading axes."""
        leaves, tree = jax.tree.flatten(self)
        sliced = [
            jax.lax.dynamic_slice_in_dim(leaf, start, width, axis=-1)
            if axes.endswith("S") and leaf.shape[-1] != 1
            else leaf
            for leaf, axes in zip(leaves, self.leaf_axes(), strict=True)
        ]
        return jax.tree.unflatten(tree, sliced)

    def __and__(self, other: Any) -> "Mask":
        return Both(self, as_mask(other))

    def __rand__(self, other: Any) -> "Mask":
        return Both(as_mask(other), self)

    def __or__(self, other: Any) -> "Mask":
        return Either(self, as_mask(other))

    def __ror__(self, other: Any) -> "Mask":
        return Either(as_mask(other), self)

    def __invert__(self) -> "Mask":
        return Not(self)


@dataclass_transform(frozen_default=True)
def _mask_type(*, leaves: dict[str, str], static: tuple[str, ...] = ()) -> Callable:
    """A frozen dataclass and pytree: `leaves` maps each array field to its axes."""

    def decorate(cls: type) -> type:
        cls = dataclasses.dataclass(frozen=True)(cls)
        cls.LEAVES = leaves
        return jax.tree_util.register_dataclass(
            cls, data_fields=list(leaves), meta_fields=list(static)
        )

    return decorate


class _Leafed(Mask):
    LEAVES: ClassVar[dict[str, str]]

    def leaf_axes(self) -> tuple[str, ...]:
        return tuple(self.LEAVES.values())


@_mask_type(leaves={})
class Causal(_Leafed):
    """p_i ≤ query position."""

    def row(self, query_position, key_positions):
        return key_positions <= query_position


@_mask_type(leaves={}, static=("left", "right"))
class Window(_Leafed):
    """query position − left ≤ p_i ≤ query position + right."""

    left: int | None
    right: int | None

    def row(self, query_position, key_positions):
        offsets = key_positions - query_position
        inside = jnp.ones(key_positions.shape, bool)
        if self.left is not None:
            inside &= offsets >= -self.left
        if self.right is not None:
            inside &= offsets <= self.right
        return inside


@_mask_type(leaves={"key_lengths": ""})
class Padding(_Leafed):
    """i < key length, by index: keys are stored first, padding after them."""

    key_lengths: Int[Array, "..."]

    def row(self, query_position, key_positions):
        index = jnp.arange(key_positions.shape[-1], dtype=self.key_lengths.dtype)
        return index < self.key_lengths

    def keys_from(self, start, width):
        return Padding(self.key_lengths - jnp.astype(start, self.key_lengths.dtype))


@_mask_type(leaves={"query_ids": "T", "key_ids": "S"})
class Segments(_Leafed):
    """Query and key carry the same id."""

    query_ids: Int[Array, "... T"]
    key_ids: Int[Array, "... S"]

    def row(self, query_position, key_positions):
        return self.key_ids == self.query_ids


@_mask_type(leaves={"length": ""})
class Prefix(_Leafed):
    """p_i < length."""

    length: Int[Array, "..."]

    def row(self, query_position, key_positions):
        return key_positions < self.length.astype(key_positions.dtype)


@_mask_type(leaves={"array": "TS"})
class Dense(_Leafed):
    """A boolean array, broadcastable to [..., T, S]."""

    array: Bool[Array, "... T S"]

    def row(self, query_position, key_positions):
        return self.array


@_mask_type(leaves={}, static=("predicate",))
class ByPosition(_Leafed):
    """Whatever a function of the two positions says."""

    predicate: Callable[[Array, Array], Array]

    def row(self, query_position, key_positions):
        allowed = jnp.asarray(self.predicate(query_position, key_positions))
        if allowed.dtype != bool:
            raise TypeError(
                "masks.by_position: predicate must return booleans (True = attend), "
                f"but returned {allowed.dtype}"
            )
        return allowed


@dataclasses.dataclass(frozen=True)
class _Pair(Mask):
    first: Mask
    second: Mask

    def leaf_axes(self) -> tuple[str, ...]:
        return self.first.leaf_axes() + self.second.leaf_axes()

    def keys_from(self, start, width):
        return type(self)(
            self.first.keys_from(start, width), self.second.keys_from(start, width)
        )

    def rows(self, query_position, key_positions):
        return (
            self.first.row(query_position, key_positions),
            self.second.row(query_position, key_positions),
        )


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["first", "second"], meta_fields=[]
)
class Both(_Pair):
    """Both masks allow it."""

    def row(self, query_position, key_positions):
        return jnp.logical_and(*self.rows(query_position, key_positions))


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["first", "second"], meta_fields=[]
)
class Either(_Pair):
    """One of the masks allows it."""

    def row(self, query_position, key_positions):
        return jnp.logical_or(*self.rows(query_position, key_positions))


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["inner"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Not(Mask):
    """The other keys."""

    inner: Mask

    def leaf_axes(self) -> tuple[str, ...]:
        return self.inner.leaf_axes()

    def keys_from(self, start, width):
        return Not(self.inner.keys_from(start, width))

    def row(self, query_position, key_positions):
        return ~self.inner.row(query_position, key_positions)


def causal() -> Mask:
    """Keys at or before the query's position: p_i ≤ t."""
    return Causal()


def window(left: int | None, right: int | None) -> Mask:
    """Keys at most `left` before and `right` after the query; None is no limit.

    Raises:
      ValueError: a side is negative.
      TypeError: a side is not an integer.
    """
    for name, side in (("left", left), ("right", right)):
        if side is None:
            continue
        if isinstance(side, bool) or not isinstance(side, int | np.integer):
            raise TypeError(
                f"masks.window: {name} must be an integer or None, not {side!r}"
            )
        if side < 0:
            raise ValueError(f"masks.window: {name} must be at least 0, not {side}")
    return Window(
        None if left is None else int(left), None if right is None else int(right)
    )


def padding(key_lengths: ArrayLike) -> Mask:
    """The first `key_lengths` keys, by index; the rest is padding.

    Args:
      key_lengths: integers, broadcastable to the leading axes of the call: [B] for keys
        [B, S, K], [B, 1] for [B, heads, S, K]. More than S is all S keys.

    Raises:
      TypeError: they are not integers.
      ValueError: one is negative. (The values of a JAX array are not looked at: that
        would wait for the device.)
    """
    return Padding(_counts("masks.padding: key_lengths", key_lengths))


def segments(query_ids: ArrayLike, key_ids: ArrayLike) -> Mask:
    """Keys with the query's id: packed sequences that must not see each other.

    Args:
      query_ids: integers [..., T].
      key_ids: integers [..., S].
    """
    query_ids = _integers("masks.segments: query_ids", query_ids)
    key_ids = _integers("masks.segments: key_ids", key_ids)
    for name, ids in (("query_ids", query_ids), ("key_ids", key_ids)):
        if ids.ndim < 1:
            raise ValueError(f"masks.segments: {name} needs an axis, but is a scalar")
    return Segments(query_ids, key_ids)


def prefix(length: ArrayLike) -> Mask:
    """Keys at positions below `length`, an integer broadcastable to the leading axes.

    `causal() | prefix(n)` is the prefix language model's mask.

    Raises:
      TypeError: it is not an integer.
      ValueError: it is negative, as far as `padding` looks.
    """
    return Prefix(_counts("masks.prefix: length", length))


def dense(array: ArrayLike) -> Mask:
    """A boolean array, broadcastable to [..., T, S], as a mask."""
    array = jnp.asarray(array)
    if array.dtype != bool:
        raise TypeError(
            f"mask must be boolean (True = attend), but its dtype is {array.dtype}"
        )
    return Dense(array.reshape((1,) * max(0, 2 - array.ndim) + array.shape))


def by_position(predicate: Callable[[Array, Array], Array]) -> Mask:
    """A mask from (query position, key positions [S]) -> [S] booleans.

    Pass a named function rather than a fresh lambda: two lambdas are never equal, so each
    would be compiled anew.
    """
    if not callable(predicate):
        raise TypeError(
            "masks.by_position: predicate must be a function, "
            f"not {type(predicate).__name__}"
        )
    return ByPosition(predicate)


def as_mask(mask: Any) -> Mask:
    """`mask` itself, or a boolean array as one.

    Raises:
      TypeError: it is neither.
    """
    if isinstance(mask, Mask):
        return mask
    if callable(mask) and getattr(mask, "__module__", None) == __name__:
        raise TypeError(f"mask must be a mask; call it: masks.{mask.__name__}(...)")
    if isinstance(mask, str):
        raise TypeError(
            "mask must be a boolean array or a mask from attention_jax.masks, such as "
            f"masks.causal(), got {mask!r}"
        )
    if callable(mask):
        raise TypeError(
            "mask must be a boolean array or a mask from attention_jax.masks; "
            "wrap a function of positions in masks.by_position"
        )
    return dense(mask)


def _integers(name: str, values: ArrayLike) -> Array:
    try:
        array = jnp.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be integers, got {values!r}") from error
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, but the dtype is {array.dtype}")
    return wide(array)


def _counts(name: str, values: ArrayLike) -> Array:
    counts = _integers(name, values)
    # Looking at a JAX array would wait for the device.
    if not isinstance(values, jax.Array) and np.any(np.asarray(values) < 0):
        raise ValueError(f"{name} must be at least 0, but one is {np.min(values)}")
    return counts


def wide(integers: Array) -> Array:
    """Integers that neither wrap below 0 nor above 127: at least int32, signed."""
    dtype = integers.dtype
    narrow = not jnp.issubdtype(dtype, jnp.signedinteger) or dtype.itemsize < 4
    return integers.astype(jnp.int32) if narrow else integers
