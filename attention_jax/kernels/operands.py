"""The checked arguments of one attention call: arrays to trace, options to specialise on."""

import dataclasses
import functools
from typing import Any

import jax

from attention_jax.functions.normalizer import Normalizer
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.score import Score
from attention_jax.masks import Mask
from attention_jax.statistics import TopK
from attention_jax.types import Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "query",
        "keys",
        "values",
        "params",
        "mask",
        "query_positions",
        "key_positions",
        "dropout_rng",
    ],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Operands:
    """Everything that may be traced; leading axes not yet broadcast.

    Attributes:
      query: [..., T, Q]. keys: [..., S, K] or PreparedKeys. values: [..., S, V].
      params: the score's parameters, complete and in shape.
      mask: a Mask or None.
      query_positions: [..., T]. key_positions: [..., S].
      dropout_rng: a typed PRNG key, or None without dropout.
    """

    query: Array
    keys: Array | PreparedKeys
    values: Array
    params: dict[str, Array]
    mask: Mask | None
    query_positions: Array
    key_positions: Array
    dropout_rng: Array | None

    @property
    def num_queries(self) -> int:
        return self.query.shape[-2]

    @property
    def num_keys(self) -> int:
        return self.values.shape[-2]

    @property
    def key_leading(self) -> tuple[int, ...]:
        if isinstance(self.keys, PreparedKeys):
            return self.keys.leading
        return self.keys.shape[:-2]

    @property
    def leading(self) -> tuple[int, ...]:
        """The result's leading axes: those of queries, keys and values, broadcast."""
        return jax.numpy.broadcast_shapes(
            self.query.shape[:-2], self.key_leading, self.values.shape[:-2]
        )


@dataclasses.dataclass(frozen=True)
class Options:
    """What a compiled attention is specialised on; equal options share it."""

    score: Score
    normalizer: Normalizer
    dropout_rate: float = 0.0
    return_weights: bool = False
    statistics: tuple[str | TopK, ...] = ()
    chunk_size: int | None = None


def lead(array: Any, core: int) -> tuple[int, ...]:
    """The leading shape of an array whose last `core` axes are its own."""
    return array.shape[: array.ndim - core]
