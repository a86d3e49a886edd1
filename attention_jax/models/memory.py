"""The encoded source as a decoder reads it, and what the decoder carries."""

from typing import Any, NamedTuple

from attention_jax.functions.prepared import PreparedKeys
from attention_jax.types import Array, Float, Int


class DecoderState(NamedTuple):
    """What the decoder carries from step to step; every leaf is [B, ...].

    Attributes:
      cells: one cell state per layer, the lowest first.
      fed: h̃_{t-1} with input feeding, else None.
      position: t, what scores by position see.
    """

    cells: tuple[Any, ...]
    fed: Float[Array, "B F"] | None
    position: Int[Array, " B"]


class Memory(NamedTuple):
    """An encoded batch of source sentences; every leaf is [B, ...].

    Attributes:
      keys: the encoder's states as the score prepared them; None without attention.
      values: the encoder's states, zero at padding.
      lengths: valid source tokens; 0 for a filler row.
      state: the decoder's first state, from the bridge.
    """

    keys: PreparedKeys | None
    values: Float[Array, "B S D"]
    lengths: Int[Array, " B"]
    state: DecoderState
