"""Sampling: words drawn from the model's distribution, or from its likelier part."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.decoding.autoregressive import decode_word_by_word
from attention_jax.decoding.base import Decoded
from attention_jax.decoding.limits import Limits, check_search
from attention_jax.decoding.top_k import first_maximum, top_words
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, ArrayLike, Float, Int


class Sampling(NamedTuple):
    """What is drawn from.

    Attributes:
      temperature: logits are divided by it; below 1 sharpens.
      top_k: only the k likeliest words; 0 keeps all.
      top_p: of those, only the fewest that together have this probability; 1 keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def sample_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    max_length: int,
    rng: Array,
    ids: Int[ArrayLike, " B"] | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - immutable
    limits: Limits | None = None,
    slots: int = 0,
) -> Decoded:
    """Draws every word from p(w | w_1..w_{t-1}, source)^(1/temperature), until EOS.

    A row's words are a function of (rng, its id, its source) alone: the key of step t is
    fold_in(fold_in(rng, id), t). `log_probs` are the model's own, at temperature 1 and
    over the whole vocabulary.

    Args:
      model, params, source, source_lengths, max_length, limits, slots: as
        `greedy_decode`.
      rng: a key of `jax.random`.
      ids: what each row draws by; by default its place, so that equal sources differ.
      sampling: temperature, top-k and top-p, applied in this order.

    Raises:
      TypeError, ValueError: as `greedy_decode`; another number out of its range.

    top_p alone sorts the vocabulary at each step; after a top_k it sorts k numbers.
    Holtzman et al., 2020, arxiv.org/abs/1904.09751 (top-p); Fan et al., 2018,
    aclanthology.org/P18-1082 (top-k).
    """
    if not sampling.temperature > 0:
        raise ValueError(f"temperature must be above 0, got {sampling.temperature}")
    if sampling.top_k < 0:
        raise ValueError(f"top_k must be at least 0, got {sampling.top_k}")
    if not 0 < sampling.top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {sampling.top_p}")
    arguments = check_search(source, source_lengths, max_length, limits, slots)
    batch = arguments[0].shape[0]
    ids = jnp.arange(batch) if ids is None else jnp.asarray(ids)
    if ids.shape != (batch,):
        raise ValueError(f"ids must be [{batch}], but its shape is {ids.shape}")
    # How many words are sorted is static; other temperatures do not compile anew.
    nucleus = None if sampling.top_p == 1 else jnp.float32(sampling.top_p)
    return _search(
        model,
        params,
        *arguments,
        rng,
        ids,
        jnp.float32(sampling.temperature),
        nucleus,
        top_k=int(sampling.top_k),
    )


@functools.partial(jax.jit, static_argnames=("model", "max_length", "slots", "top_k"))
def _search(
    model: Model,
    params: Params,
    source: Array,
    source_lengths: Array,
    limits: Limits,
    max_length: int,
    slots: int,
    rng: Array,
    ids: Array,
    temperature: Array,
    top_p: Array | None,
    *,
    top_k: int,
) -> Decoded:
    keys = jax.vmap(functools.partial(jax.random.fold_in, rng))(ids)

    def choose(logits: Array, time: Array, keys: Array) -> Array:
        step_keys = jax.vmap(jax.random.fold_in)(keys, time)
        return jax.vmap(
            lambda key, row: draw(
                key, row, temperature=temperature, top_k=top_k, top_p=top_p
            )
        )(step_keys, logits)

    return decode_word_by_word(
        model, params, source, source_lengths, limits, max_length, slots, choose, keys
    )


def draw(
    rng: Array,
    logits: Float[Array, " W"],
    *,
    temperature: Float[ArrayLike, ""],
    top_k: int = 0,
    top_p: Float[ArrayLike, ""] | None = None,
) -> Int[Array, ""]:
    """One word; -inf marks what may not be drawn. top_p None keeps all.

    The maximum of logits with Gumbel noise added is distributed as their softmax.
    """
    logits = logits / temperature
    words = None
    if 0 < top_k < logits.shape[-1]:
        logits, words = top_words(logits, top_k)
    if top_p is not None:
        logits = jnp.where(in_nucleus(logits, top_p), logits, -jnp.inf)
    noise = jax.random.gumbel(rng, logits.shape, logits.dtype)
    place = first_maximum(logits + noise)[1]
    return place if words is None else words[place]


def in_nucleus(logits: Float[Array, " W"], top_p: Float[ArrayLike, ""]) -> Array:
    """Which words are among the fewest whose probabilities sum to at least `top_p`.

    The likeliest is always one; words as likely as the last one all are.
    """
    probs = jax.nn.softmax(logits)
    falling = jnp.sort(probs, descending=True)
    # A word is needed if those before it do not suffice.
    first = jnp.arange(falling.size) == 0
    needed = first | (jnp.cumsum(falling) - falling < top_p)
    least = jnp.min(jnp.where(needed, falling, jnp.inf))
    return probs >= least
