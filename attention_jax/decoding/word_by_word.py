"""Searches that extend one translation a word at a time: greedy search and sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from attention_jax.data.vocabulary import BOS, EOS, PAD
from attention_jax.decoding.decoded import Decoded
from attention_jax.decoding.limits import Limits, restricted
from attention_jax.decoding.top_words import log_sum_exp
from attention_jax.models.functional import Model, Params
from attention_jax.types import Array, Float, Int

# (logits, -inf for what may not come next; time) -> word.
Choose = Callable[[Float[Array, "B W"], Int[Array, ""]], Int[Array, " B"]]


class _Search(NamedTuple):
    time: Array
    state: Any
    words: Int[Array, " B"]
    running: Array
    lengths: Int[Array, " B"]
    log_probs: Float[Array, " B"]
    tokens: Int[Array, "L B"]
    weights: Float[Array, "L B S"]


def decode_word_by_word(
    model: Model,
    params: Params,
    source: Int[Array, "B S"],
    source_lengths: Int[Array, " B"],
    limits: Limits,
    max_length: int,
    choose: Choose,
) -> Decoded:
    """Extends every row by what `choose` takes, until EOS; one `lax.while_loop`.

    Stops when every row has ended. To be called under jit.
    """
    memory = model.encode(params, source, source_lengths)
    batch, num_keys = source.shape
    steps = max_length + 1

    def unfinished(search: _Search) -> Array:
        return (search.time < steps) & jnp.any(search.running)

    def extend(search: _Search) -> _Search:
        time, running = search.time, search.running
        state, logits, weights = model.step(params, memory, search.state, search.words)
        words = choose(restricted(logits, limits, time), time)
        chosen = jnp.take_along_axis(logits, words[:, None], axis=-1)[:, 0]
        log_probs = jnp.minimum(chosen - log_sum_exp(logits), 0)
        words = jnp.where(running, words, PAD)
        is_word = running & (words != EOS)
        return _Search(
            time + 1,
            state,
            words,
            is_word,
            search.lengths + is_word.astype(jnp.int32),
            search.log_probs + jnp.where(running, log_probs, 0),
            search.tokens.at[time].set(words),
            search.weights.at[time].set(jnp.where(running[:, None], weights, 0)),
        )

    start = _Search(
        jnp.zeros((), jnp.int32),
        model.start(memory),
        jnp.full(batch, BOS, jnp.int32),
        source_lengths > 0,
        jnp.zeros(batch, jnp.int32),
        jnp.zeros(batch, jnp.float32),
        # Time in front: a step then writes one contiguous piece.
        jnp.full((steps, batch), PAD, jnp.int32),
        jnp.zeros((steps, batch, num_keys), memory.values.dtype),
    )
    end = lax.while_loop(unfinished, extend, start)
    return Decoded(
        end.tokens.T,
        end.lengths,
        end.log_probs,
        end.log_probs,
        end.weights.swapaxes(0, 1),
    )
