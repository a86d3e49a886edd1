"""Searches that extend one translation a word at a time: greedy search and sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from attention_jax.data.vocabulary import BOS, EOS, PAD
from attention_jax.decoding.base import Decoded
from attention_jax.decoding.continuous_batching import encode_all, search_all
from attention_jax.decoding.limits import Limits, restricted
from attention_jax.decoding.top_k import log_sum_exp
from attention_jax.models.attention_wiring import Memory
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, Float, Int

# (logits, -inf for what may not come next; time; key) -> word.
Choose = Callable[[Float[Array, "B W"], Int[Array, " B"], Any], Int[Array, " B"]]


class _Item(NamedTuple):
    memory: Memory
    limits: Limits
    # What the sentence draws by, or None.
    key: Any


class _Search(NamedTuple):
    time: Int[Array, " B"]
    decoder: Any
    words: Int[Array, " B"]
    running: Array
    log_probs: Float[Array, " B"]
    tokens: Int[Array, "B L"]
    weights: Float[Array, "B L S"]


def decode_word_by_word(
    model: Model,
    params: Params,
    source: Int[Array, "N S"],
    source_lengths: Int[Array, " N"],
    limits: Limits,
    max_length: int,
    slots: int,
    choose: Choose,
    keys: Any = None,
) -> Decoded:
    """Extends every row by what `choose` takes, until EOS. To be called under jit."""
    memory, number = encode_all(model, params, source, source_lengths, slots)
    steps, num_keys = max_length + 1, source.shape[1]

    def begin(item: _Item) -> _Search:
        lengths = item.memory.lengths
        batch = lengths.shape[0]
        return _Search(
            jnp.zeros(batch, jnp.int32),
            model.start(item.memory),
            jnp.full(batch, BOS, jnp.int32),
            lengths > 0,
            jnp.zeros(batch, jnp.float32),
            jnp.full((batch, steps), PAD, jnp.int32),
            jnp.zeros((batch, steps, num_keys), item.memory.values.dtype),
        )

    def advance(item: _Item, search: _Search) -> _Search:
        time, running = search.time, search.running
        decoder, logits, weights = model.step(
            params, item.memory, search.decoder, search.words
        )
        words = choose(restricted(logits, item.limits, time), time, item.key)
        chosen = jnp.take_along_axis(logits, words[:, None], axis=-1)[:, 0]
        log_probs = jnp.minimum(chosen - log_sum_exp(logits), 0)
        # A row that has ended writes nowhere.
        here = jnp.arange(len(time)), jnp.where(running, time, steps)
        return _Search(
            time + running.astype(jnp.int32),
            decoder,
            words,
            # The limit again: where logits are NaN no word is EOS.
            running & (words != EOS) & (time < jnp.asarray(item.limits.longest)),
            search.log_probs + jnp.where(running, log_probs, 0),
            search.tokens.at[here].set(words, mode="drop"),
            search.weights.at[here].set(weights, mode="drop"),
        )

    def result(search: _Search) -> Decoded:
        return Decoded(
            search.tokens,
            # EOS took a step too.
            jnp.maximum(search.time - 1, 0),
            search.log_probs,
            search.log_probs,
            search.weights,
        )

    return search_all(
        _Item(memory, limits, keys),
        number,
        slots=slots,
        begin=begin,
        advance=advance,
        running=lambda search: search.running,
        result=result,
    )
