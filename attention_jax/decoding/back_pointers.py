"""From where each word in a beam came: words and attention read back from the end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.data.vocabulary import EOS, PAD
from attention_jax.types import Array, Bool, Float, Int


class BackPointers(NamedTuple):
    """What every step did with every place of the beam.

    Attributes:
      words: the word that was appended to get what is in place k after step t.
      places: the place of the beam, before step t, that it was appended to.
      weights: the attention of step t in the place k as it was before step t.
    """

    words: Int[Array, "B L K"]
    places: Int[Array, "B L K"]
    weights: Float[Array, "B L K S"]


def trace_back(
    pointers: BackPointers,
    lengths: Int[Array, "B N"],
    places: Int[Array, "B N"],
    found: Bool[Array, "B N"],
) -> tuple[Int[Array, "B N L"], Float[Array, "B N L S"]]:
    """The tokens and attention of translations that ended from `places` after `lengths` words.

    Followed once, after the search, instead of copying what was written so far whenever
    the beam's places change. Where nothing was found: PAD and 0.
    """

    def follow(place: Array, step: tuple[Array, BackPointers]) -> tuple[Array, tuple]:
        time, (words, came_from, weights) = step
        ends = found & (time == lengths)
        inside = found & (time < lengths)
        word = jnp.take_along_axis(words, place, axis=1)
        word = jnp.where(ends, EOS, jnp.where(inside, word, PAD))
        before = jnp.where(inside, jnp.take_along_axis(came_from, place, axis=1), place)
        row = jnp.take_along_axis(weights, before[..., None], axis=1)
        row = jnp.where((ends | inside)[..., None], row, 0)
        return before, (word, row)

    by_time = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), pointers)
    steps = jnp.arange(len(by_time.words))
    _, (tokens, weights) = lax.scan(follow, places, (steps, by_time), reverse=True)
    return tokens.transpose(1, 2, 0), weights.transpose(1, 2, 0, 3)
