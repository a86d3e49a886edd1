"""Greedy search: the likeliest word at every step."""

import functools

import jax

from attention_jax.decoding.autoregressive import decode_word_by_word
from attention_jax.decoding.base import Decoded
from attention_jax.decoding.limits import Limits, check_search
from attention_jax.decoding.top_k import first_maximum
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, ArrayLike, Int


def greedy_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    max_length: int,
    limits: Limits | None = None,
    slots: int = 0,
) -> Decoded:
    """Takes the likeliest word at every step, until EOS.

        w_t = argmax_w p(w | w_1..w_{t-1}, source),  w among the words, UNK and EOS

    Probabilities are over the whole vocabulary, PAD and BOS included, though these two
    are never chosen. Beam search with a beam of one and no penalties.

    Args:
      model: from `build_model`.
      params: its parameters.
      source: token ids, PAD after the sentence.
      source_lengths: tokens per row; a row of length 0 gives no words, log_prob 0.
      max_length: the most words a row may have; L is one more, for EOS.
      limits: of each row, within max_length; by default there are no others.
      slots: how many rows are searched at a time, the others waiting; 0: all of them.

    Returns:
      `Decoded`, [B]. A row's result does not depend on the other rows or on padding.

    Raises:
      TypeError: tokens, lengths or a number that are not whole numbers.
      ValueError: a number or a length out of its range, or shapes that do not fit.

    Compiled once per model, shape and max_length; stops when every row has ended.
    """
    arguments = check_search(source, source_lengths, max_length, limits, slots)
    return _search(model, params, *arguments)


@functools.partial(jax.jit, static_argnames=("model", "max_length", "slots"))
def _search(
    model: Model,
    params: Params,
    source: Array,
    source_lengths: Array,
    limits: Limits,
    max_length: int,
    slots: int,
) -> Decoded:
    return decode_word_by_word(
        model,
        params,
        source,
        source_lengths,
        limits,
        max_length,
        slots,
        lambda logits, time, key: first_maximum(logits)[1],
    )
