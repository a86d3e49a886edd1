"""Masks: which keys a query may attend to, as values that combine with `& | ~`.

A mask is written for one query, like a score: `row` gives [S] booleans. Its arrays are
pytree leaves, traced under jit; the axes of each leaf are declared by letters (T queries,
S keys) so that batching slices them without anyone building [..., T, S].
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions import numbers
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

    def map_leaves(self, function: Callable[[Array, str], Any]) -> Any:
        """The mask of `function(leaf, its axes)` for each pytree leaf."""
        leaves, tree = jax.tree.flatten(self)
        return tree.unflatten(map(function, leaves, self.leaf_axes()))

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
        by_query = iter(self.by_query(num_queries))
        return self.map_leaves(
            lambda leaf, axes: take(leaf, -len(axes)) if next(by_query) else leaf
        )

    def keys_from(self, start: Int[Array, ""], width: int) -> "Mask":
        """The same mask for `width` keys from index `start` on; no leading axes."""
        return self.map_leaves(
            lambda leaf, axes: (
                jax.lax.dynamic_slice_in_dim(leaf, start, width, axis=-1)
                if axes.endswith("S") and leaf.shape[-1] != 1
                else leaf
            )
        )

    def functions(self) -> tuple[Callable, ...]:
        """The user's functions that `row` calls."""
        return ()

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
        limits = jnp.iinfo(query_position.dtype)
        inside = jnp.ones(key_positions.shape, bool)
        # A side that no integer of the positions' is beyond is none; nor may a sum wrap.
        if self.left is not None and self.left <= limits.max:
            first = query_position - self.left
            first = jnp.where(first > query_position, limits.min, first)
            inside &= key_positions >= first
        if self.right is not None and self.right <= limits.max:
            last = query_position + self.right
            last = jnp.where(last < query_position, limits.max, last)
            inside &= key_positions <= last
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
        keys, query = self.key_ids, self.query_ids
        if keys.dtype == query.dtype:
            return keys == query
        wider = _wider(keys, query)
        same = keys.astype(wider) == query.astype(wider)
        # A negative id and a large unsigned one have the same bits.
        unsigned = [jnp.issubdtype(x.dtype, jnp.unsignedinteger) for x in (keys, query)]
        return same & (keys >= 0) & (query >= 0) if any(unsigned) else same


@_mask_type(leaves={"length": ""})
class Prefix(_Leafed):
    """p_i < length."""

    length: Int[Array, "..."]

    def row(self, query_position, key_positions):
        wider = _wider(key_positions, self.length)
        return key_positions.astype(wider) < self.length.astype(wider)


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

    def functions(self):
        return (self.predicate,)

    def row(self, query_position, key_positions):
        allowed = jnp.asarray(self.predicate(query_position, key_positions))
        if allowed.dtype != bool:
            raise TypeError(
                "masks.by_position: predicate must return booleans (True = attend), "
                f"but returned {allowed.dtype}"
            )
        return allowed


class _Combined(Mask):
    """A mask whose fields are masks."""

    def _parts(self) -> list[Mask]:
        made: Any = self
        return [getattr(made, field.name) for field in dataclasses.fields(made)]

    def leaf_axes(self) -> tuple[str, ...]:
        return tuple(axes for part in self._parts() for axes in part.leaf_axes())

    def functions(self):
        return tuple(one for part in self._parts() for one in part.functions())

    def keys_from(self, start, width):
        return type(self)(*(part.keys_from(start, width) for part in self._parts()))

    def rows(self, query_position, key_positions):
        return [part.row(query_position, key_positions) for part in self._parts()]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Both(_Combined):
    """Both masks allow it."""

    first: Mask
    second: Mask

    def row(self, query_position, key_positions):
        return jnp.logical_and(*self.rows(query_position, key_positions))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Either(_Combined):
    """One of the masks allows it."""

    first: Mask
    second: Mask

    def row(self, query_position, key_positions):
        return jnp.logical_or(*self.rows(query_position, key_positions))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Not(_Combined):
    """The other keys."""

    inner: Mask

    def row(self, query_position, key_positions):
        return jnp.logical_not(*self.rows(query_position, key_positions))


def causal() -> Mask:
    """Keys at or before the query's position: p_i ≤ t."""
    return Causal()


def window(left: int | None, right: int | None) -> Mask:
    """Keys at most `left` before and `right` after the query; None is no limit.

    Raises:
      ValueError: a side is negative.
      TypeError: a side is not an integer.
    """
    sides = {"left": left, "right": right}
    for name, side in sides.items():
        if side is not None:
            sides[name] = numbers.count(f"masks.window: {name}", side, 0)
    return Window(**sides)


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
    return Padding(
        numbers.integers("masks.padding: key_lengths", key_lengths, counts=True)
    )


def segments(query_ids: ArrayLike, key_ids: ArrayLike) -> Mask:
    """Keys with the query's id: packed sequences that must not see each other.

    Args:
      query_ids: integers [..., T].
      key_ids: integers [..., S].

    Raises:
      TypeError: they are not integers.
      ValueError: one is a scalar, or has an id that does not fit the widest integers there
        are: int32, unless 64-bit types are enabled.
    """
    return Segments(
        _ids("masks.segments: query_ids", query_ids),
        _ids("masks.segments: key_ids", key_ids),
    )


def prefix(length: ArrayLike) -> Mask:
    """Keys at positions below `length`, an integer broadcastable to the leading axes.

    `causal() | prefix(n)` is the prefix language model's mask.

    Raises:
      TypeError: it is not an integer.
      ValueError: it is negative, as far as `padding` looks.
    """
    return Prefix(numbers.integers("masks.prefix: length", length, counts=True))


def dense(array: ArrayLike) -> Mask:
    """A boolean array, broadcastable to [..., T, S], as a mask."""
    try:
        array = jnp.asarray(array)
    except (TypeError, ValueError) as error:
        came = getattr(array, "dtype", repr(array))
        raise TypeError(
            f"mask must be an array of booleans, got {came!s:.200}"
        ) from error
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
    try:
        inspect.signature(predicate).bind(None, None)
    except TypeError as error:
        raise TypeError(
            "masks.by_position: predicate must take (query position, key positions), but "
            f"its signature is {inspect.signature(predicate)}; of a mask_mod that reads "
            "positions only: lambda q, k: mask_mod(0, 0, q, k)"
        ) from error
    except ValueError:  # A function without a signature.
        pass
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


def _wider(one: Array, other: Array) -> Any:
    """The wider of two dtypes."""
    return max(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)


def _ids(name: str, values: ArrayLike) -> Array:
    """Ids [..., n], of which none is changed."""
    # Unsigned ones that JAX has would be clipped.
    if getattr(values, "dtype", None) == np.uint32 or (
        isinstance(values, jax.Array) and values.dtype == np.uint64
    ):
        ids = jnp.asarray(values)
    else:
        ids = numbers.integers(name, values)
    if ids.ndim < 1:
        raise ValueError(f"{name} needs an axis, but is a scalar")
    return ids
