"""How short and how long a translation may be, and which words may come next."""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.data.vocabulary import BOS, EOS, PAD
from attention_jax.types import Array, ArrayLike, Bool, Float, Int

# Words; far more than there is memory for.
_MAX_LENGTH = 2**24


class Limits(NamedTuple):
    """The words that each row's translation may have, EOS not counted.

    Attributes:
      shortest: EOS is not chosen before so many words.
      longest: after so many words EOS is forced.
    """

    shortest: Int[ArrayLike, " B"]
    longest: Int[ArrayLike, " B"]


def length_limits(
    source_lengths: Int[np.ndarray, " B"],
    *,
    max_ratio: float,
    max_offset: int,
    min_ratio: float = 0.0,
    min_offset: int = 0,
) -> Limits:
    """The limits as functions of the source's length |x|.

        longest  = max(1, ⌊max_ratio |x|⌋ + max_offset)
        shortest = min(⌊min_ratio |x|⌋ + min_offset, longest)

    On NumPy arrays: a caller needs the largest `longest` for a shape.
    """
    lengths = np.asarray(source_lengths)

    def times(ratio: float) -> np.ndarray:
        # 1.15 x 100 is 114.99999999999999 in binary.
        return np.floor(ratio * lengths + 1e-9).astype(np.int32)

    longest = np.maximum(1, times(max_ratio) + max_offset)
    shortest = times(min_ratio) + min_offset
    return Limits(np.minimum(shortest, longest).astype(np.int32), longest)


def check_search(
    source: ArrayLike,
    source_lengths: ArrayLike,
    max_length: int,
    limits: Limits | None,
    slots: int,
) -> tuple[Array, Array, Limits, int, int]:
    """A search's arguments as arrays and numbers.

    No limits are 0 and `max_length` words; no slots are as many as there are rows.

    Raises:
      TypeError: arrays or a max_length of another type than whole numbers.
      ValueError: a number out of its range, or shapes that do not fit.
    """
    max_length, slots = whole("max_length", max_length), whole("slots", slots)
    # Under jit, too, what is no tracer is known.
    known = None if isinstance(source_lengths, jax.core.Tracer) else source_lengths
    source, source_lengths = jnp.asarray(source), jnp.asarray(source_lengths)
    for name, array in (("source", source), ("source_lengths", source_lengths)):
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(f"{name} must hold whole numbers, got {array.dtype}")
    if source.ndim != 2 or source_lengths.shape != source.shape[:1]:
        raise ValueError(
            f"source must be [B, S] and source_lengths [B], but the shapes are "
            f"{source.shape} and {source_lengths.shape}"
        )
    if not source.shape[0]:
        raise ValueError("source must have at least one row, got none")
    if not 1 <= max_length <= _MAX_LENGTH:
        raise ValueError(
            f"max_length must be at least 1 and at most {_MAX_LENGTH:,}, "
            f"not {max_length}"
        )
    if known is not None:
        _check_lengths(np.asarray(known), source.shape[1])
    if slots < 0:
        raise ValueError(f"slots must be at least 0, not {slots}")
    batch = source.shape[0]
    if limits is None:
        shortest, longest = jnp.zeros(batch, jnp.int32), max_length
    else:
        shortest, longest = limits
        for name, limit in limits._asdict().items():
            if jnp.shape(limit) != (batch,):
                raise ValueError(
                    f"limits.{name} must be [{batch}], one per row of source, but its "
                    f"shape is {jnp.shape(limit)}"
                )
    # Longer ones would not fit into the arrays.
    longest = jnp.minimum(jnp.broadcast_to(jnp.asarray(longest), batch), max_length)
    limits = Limits(jnp.asarray(shortest), longest)
    return source, source_lengths, limits, max_length, slots or batch


def whole(name: str, number: Any) -> int:
    """The number as Python's own; TypeError, with its name, if it is no whole number."""
    try:
        if not isinstance(number, bool):
            return operator.index(number)
    except TypeError:
        pass
    raise TypeError(f"{name} must be a whole number, got {number!r}")


def _check_lengths(lengths: np.ndarray, width: int) -> None:
    wrong = np.flatnonzero((lengths < 0) | (lengths > width))
    if wrong.size:
        raise ValueError(
            f"source_lengths must be at least 0 and at most {width}, the width of "
            f"source, got {lengths[wrong[0]]} in row {wrong[0]}"
        )


def may_follow(
    limits: Limits, time: Int[Array, " B"], num_words: int
) -> Bool[Array, "B W"]:
    """Which ids may be a row's word number `time`, from 0: never PAD and BOS."""
    shortest, longest, time = (jnp.asarray(x)[:, None] for x in (*limits, time))
    ids = jnp.arange(num_words)[None]
    words = (ids != PAD) & (ids != BOS) & (ids != EOS)
    # Where `longest` makes a translation end, `shortest` may not keep it from it.
    may_end = (time >= shortest) | (time >= longest)
    return (words & (time < longest)) | ((ids == EOS) & may_end)


def restricted(
    logits: Float[Array, "B W"], limits: Limits, time: Int[Array, " B"]
) -> Float[Array, "B W"]:
    """The logits, -inf for what may not come next."""
    return jnp.where(may_follow(limits, time, logits.shape[-1]), logits, -jnp.inf)
