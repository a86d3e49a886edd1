"""Greedy search: the likeliest word at every step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.data.vocabulary import BOS, EOS, PAD
from attention_jax.models.functional import Model, Params
from attention_jax.types import Array, ArrayLike, Float, Int


class Decoded(NamedTuple):
    """One output sentence per row.

    Attributes:
      tokens: the words, then EOS unless the length ran out, then PAD.
      lengths: the number of words, EOS not counted.
      log_probs: the sum over the words and EOS of their log-probabilities.
      weights: the attention of each step, the one that chose EOS included; 0 after it.
    """

    tokens: Int[Array, "B L"]
    lengths: Int[Array, " B"]
    log_probs: Float[Array, " B"]
    weights: Float[Array, "B L S"]


class _Search(NamedTuple):
    time: Array
    state: Any
    words: Int[Array, " B"]
    running: Array
    decoded: Decoded


def greedy_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    max_length: int,
) -> Decoded:
    """Takes the likeliest word at every step, until EOS.

        w_t = argmax_w p(w | w_1..w_{t-1}, source),  w among the words, UNK and EOS

    Probabilities are over the whole vocabulary, PAD and BOS included, though these two
    are never chosen. Beam search with a beam of one.

    Args:
      model: from `build_model`.
      params: its parameters.
      source: token ids, PAD after the sentence.
      source_lengths: tokens per row; a row of length 0 gives no words, log_prob 0.
      max_length: L; a sentence that has not ended then is cut, without EOS.

    Returns:
      `Decoded`. A row's result does not depend on the other rows or on padding.

    Raises:
      ValueError: max_length below 1, or shapes that do not fit.

    Compiled once per model, shape and max_length; stops when every row has ended.
    """
    source, source_lengths = jnp.asarray(source), jnp.asarray(source_lengths)
    if source.ndim != 2 or source_lengths.shape != source.shape[:1]:
        raise ValueError(
            f"source must be [B, S] and source_lengths [B], but the shapes are "
            f"{source.shape} and {source_lengths.shape}"
        )
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, not {max_length}")
    return _search(model, params, source, source_lengths, int(max_length))


@functools.partial(jax.jit, static_argnames=("model", "max_length"))
def _search(
    model: Model, params: Params, source: Array, source_lengths: Array, max_length: int
) -> Decoded:
    memory = model.encode(params, source, source_lengths)
    batch, num_keys = source.shape

    def unfinished(search: _Search) -> Array:
        return (search.time < max_length) & jnp.any(search.running)

    def extend(search: _Search) -> _Search:
        time, state, words, running, decoded = search
        state, logits, weights = model.step(params, memory, state, words)
        words, log_probs = choose(logits)
        words = jnp.where(running, words, PAD)
        is_word = running & (words != EOS)
        here = running[:, None]
        decoded = Decoded(
            decoded.tokens.at[:, time].set(words),
            decoded.lengths + is_word.astype(jnp.int32),
            decoded.log_probs + jnp.where(running, log_probs, 0),
            decoded.weights.at[:, time].set(jnp.where(here, weights, 0)),
        )
        return _Search(time + 1, state, words, is_word, decoded)

    start = _Search(
        jnp.zeros((), jnp.int32),
        model.start(memory),
        jnp.full(batch, BOS, jnp.int32),
        source_lengths > 0,
        Decoded(
            jnp.full((batch, max_length), PAD, jnp.int32),
            jnp.zeros(batch, jnp.int32),
            jnp.zeros(batch, jnp.float32),
            jnp.zeros((batch, max_length, num_keys), memory.values.dtype),
        ),
    )
    return lax.while_loop(unfinished, extend, start).decoded


def choose(
    logits: Float[Array, "B W"],
) -> tuple[Int[Array, " B"], Float[Array, " B"]]:
    """The likeliest id of each row, PAD and BOS left out, and its log-probability."""
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    never = jnp.zeros(logits.shape[-1], bool).at[jnp.array([PAD, BOS])].set(True)
    allowed = jnp.where(never[None], -jnp.inf, log_probs)
    words = jnp.argmax(allowed, axis=-1).astype(jnp.int32)
    return words, jnp.take_along_axis(log_probs, words[:, None], axis=-1)[:, 0]
