"""What every search takes and returns: a request with length limits, decoded tokens."""

import dataclasses
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.data.codec import BOS, EOS, PAD
from attention_jax.types import Array, ArrayLike, Float, Int


class Decoded(NamedTuple):
    """Decoded translations, one per leading index: [B], or [B, N] for an n-best list.

    Every translation ends with EOS, which is forced on one that has reached its longest
    length. So `log_probs` is always log p(tokens, EOS | source), as `force_decode` gives
    it for the same tokens.

    Attributes:
      tokens: the tokens, EOS, then PAD; one longer than a translation may be.
      lengths: the number of tokens, EOS not counted.
      log_probs: the sum over the tokens and EOS of their log-probabilities.
      scores: what the search ranked by; log_probs unless a penalty was added. -inf where
        there is no translation: fewer were found than asked for.
      weights: the attention of each step, including the step which chose EOS; 0 after it.
    """

    tokens: Int[Array, "... L"]
    lengths: Int[Array, " ..."]
    log_probs: Float[Array, " ..."]
    scores: Float[Array, " ..."]
    weights: Float[Array, "... L S"]


class Limits(NamedTuple):
    """The lengths that each row's translation may have, EOS not counted.

    Attributes:
      shortest: EOS is not chosen before this many tokens.
      longest: after this many tokens EOS is forced.
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


_STATIC: dict[str, Any] = {"metadata": {"static": True}}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Request:
    """A checked batch of sources to translate; the fields are `make_request`'s."""

    source: Int[Array, "B S"]
    source_lengths: Int[Array, " B"]
    limits: Limits
    ids: Int[Array, " B"]
    max_length: int = dataclasses.field(**_STATIC)
    n_best: int = dataclasses.field(**_STATIC)
    slots: int = dataclasses.field(**_STATIC)


def make_request(
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    max_length: int,
    limits: Limits | None = None,
    ids: Int[ArrayLike, " B"] | None = None,
    n_best: int = 1,
    slots: int = 0,
) -> Request:
    """What every search reads, checked, as arrays and Python integers.

    Args:
      source: token ids, PAD after the sentence.
      source_lengths: tokens per row; a row of length 0 gives no tokens, log_prob 0.
      max_length: the most tokens a row may have; results are one longer, for EOS.
      limits: of each row, within max_length; by default there are no others.
      ids: what each row draws by; by default its index, so that equal sources differ.
      n_best: N, how many translations of each row.
      slots: how many rows are searched at a time, the others waiting; 0: all of them.

    Raises:
      TypeError: tokens, lengths or a number that are not integers.
      ValueError: a number or a length out of its range, or shapes that do not fit.
    """
    max_length = integer("max_length", max_length, least=1)
    slots, n_best = integer("slots", slots), integer("n_best", n_best, least=1)
    given = source_lengths
    source, source_lengths = jnp.asarray(source), jnp.asarray(source_lengths)
    for name, array in (("source", source), ("source_lengths", source_lengths)):
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(f"{name} must hold integers, got {array.dtype}")
    if source.ndim != 2 or source_lengths.shape != source.shape[:1] or not len(source):
        raise ValueError(
            "source must be [B, S] with at least one row, and source_lengths [B], but "
            f"the shapes are {source.shape} and {source_lengths.shape}"
        )
    batch, width = source.shape
    # Under jit, too, the values of a NumPy array are known.
    if not isinstance(given, jax.core.Tracer):
        for row, length in enumerate(np.asarray(given)):
            if not 0 <= length <= width:
                raise ValueError(
                    f"source_lengths must be at least 0 and at most {width}, the width "
                    f"of source, got {length} in row {row}"
                )
    if limits is None:
        limits = Limits(np.zeros(batch, np.int32), np.full(batch, max_length, np.int32))
    ids = jnp.arange(batch) if ids is None else jnp.asarray(ids)
    for name, array in {**limits._asdict(), "ids": ids}.items():
        if jnp.shape(array) != (batch,):
            raise ValueError(
                f"{name} must be [{batch}], one per row of source, but its shape is "
                f"{jnp.shape(array)}"
            )
    # Longer ones would not fit into the arrays.
    longest = jnp.minimum(jnp.asarray(limits.longest), max_length)
    limits = Limits(jnp.asarray(limits.shortest), longest)
    return Request(
        source, source_lengths, limits, ids, max_length, n_best, slots or batch
    )


def integer(name: str, number: Any, *, least: int = 0) -> int:
    """The number as Python's own; a TypeError or ValueError names what is not one."""
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"{name} must be an integer, got {number!r}")
    number = operator.index(number)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def restricted(
    logits: Float[Array, "B W"], limits: Limits, time: Int[Array, " B"]
) -> Float[Array, "B W"]:
    """The logits, -inf for what may not be a row's token number `time`, from 0."""
    shortest, longest, time = (jnp.asarray(x)[:, None] for x in (*limits, time))
    ids = jnp.arange(logits.shape[-1])[None]
    tokens = (ids != PAD) & (ids != BOS) & (ids != EOS)
    # Where `longest` makes a translation end, `shortest` may not keep it from it.
    may_end = (time >= shortest) | (time >= longest)
    allowed = (tokens & (time < longest)) | ((ids == EOS) & may_end)
    return jnp.where(allowed, logits, -jnp.inf)
