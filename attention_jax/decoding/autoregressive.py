"""One hypothesis a sentence: greedy search, sampling, and one that is given (forced)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.data.batches import Batch
from attention_jax.data.codec import BOS, EOS, PAD
from attention_jax.decoding.base import Decoded, Request, make_request, restricted
from attention_jax.decoding.continuous_batching import Item, search_all
from attention_jax.decoding.top_k import first_maximum, log_sum_exp, top_k_tokens
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, ArrayLike, Float, Int


class Sampling(NamedTuple):
    """What is drawn from.

    Attributes:
      temperature: logits are divided by it; below 1 sharpens.
      top_k: only the k likeliest tokens; 0 keeps all.
      top_p: of those, only the fewest that together have this probability; 1 keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def greedy_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    **options: Any,
) -> Decoded:
    """Takes the likeliest token at every step, until EOS.

        w_t = argmax_w p(w | w_1..w_{t-1}, source),  w among the words, UNK and EOS

    Probabilities are over the whole vocabulary, PAD and BOS included, though these two
    are never chosen. Equals beam search with a beam of one and no penalties.

    Args:
      model: from `build_model`. params: its parameters.
      source, source_lengths: [B] sentences as token ids.
      **options: `make_request`'s: max_length, limits, slots.

    Returns:
      `Decoded`, [B]. A row's result does not depend on the other rows or on padding.

    Raises:
      TypeError, ValueError: as `make_request`.

    Compiled once per model, shape and max_length; stops when every row has ended.
    """
    return search(model, params, make_request(source, source_lengths, **options))


def sample_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    rng: Array,
    sampling: Sampling = Sampling(),  # noqa: B008 - immutable
    **options: Any,
) -> Decoded:
    """Draws every token from p(w | w_1..w_{t-1}, source)^(1/temperature), until EOS.

    A row's tokens are a function of (rng, its id, its source) alone: the key of step t is
    fold_in(fold_in(rng, id), t). `log_probs` are the model's own, at temperature 1 and
    over the whole vocabulary.

    Args:
      model, params, source, source_lengths: as `greedy_decode`.
      rng: a key of `jax.random`.
      sampling: temperature, top-k and top-p, applied in this order.
      **options: `make_request`'s: max_length, limits, ids, slots.

    Raises:
      TypeError, ValueError: as `make_request`; another number out of its range.

    top_p alone sorts the vocabulary at each step; after a top_k it sorts k numbers.
    Holtzman et al., 2020, arxiv.org/abs/1904.09751 (top-p); Fan et al., 2018,
    aclanthology.org/P18-1082 (top-k).
    """
    request = make_request(source, source_lengths, **options)
    return search(model, params, request, rng, sampling)


def search(
    model: Model,
    params: Params,
    request: Request,
    rng: Array | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - immutable
) -> Decoded:
    """Extends every row until EOS: by the likeliest token or, given an rng, a drawn one."""
    temperature, top_k, top_p = sampling
    if not (temperature > 0 and top_k >= 0 and 0 < top_p <= 1):
        raise ValueError(
            "temperature must be above 0, top_k at least 0, and top_p above 0 and at "
            f"most 1, got {sampling}"
        )
    # How many tokens are sorted is static; other temperatures do not compile anew.
    nucleus = None if top_p == 1 else jnp.float32(top_p)
    heat = jnp.float32(temperature)
    return _search(model, params, request, rng, heat, nucleus, top_k=int(top_k))


class _Search(NamedTuple):
    time: Int[Array, " B"]
    decoder: Any
    tokens: Int[Array, " B"]
    running: Array
    log_probs: Float[Array, " B"]
    all_tokens: Int[Array, "B L"]
    weights: Float[Array, "B L S"]


@functools.partial(jax.jit, static_argnames=("model", "top_k"))
def _search(
    model: Model,
    params: Params,
    request: Request,
    rng: Array | None,
    temperature: Array,
    top_p: Array | None,
    *,
    top_k: int,
) -> Decoded:
    steps, num_keys = request.max_length + 1, request.source.shape[1]
    keys = None
    if rng is not None:
        keys = jax.vmap(functools.partial(jax.random.fold_in, rng))(request.ids)

    def choose(logits: Array, time: Array, keys: Array | None) -> Array:
        if keys is None:
            return first_maximum(logits)[1]
        step_keys = jax.vmap(jax.random.fold_in)(keys, time)
        one = functools.partial(draw, temperature=temperature, top_k=top_k, top_p=top_p)
        return jax.vmap(one)(step_keys, logits)

    def begin(item: Item) -> _Search:
        batch = len(item.lengths)
        return _Search(
            jnp.zeros(batch, jnp.int32),
            model.start(item.memory),
            jnp.full(batch, BOS, jnp.int32),
            item.lengths > 0,
            jnp.zeros(batch, jnp.float32),
            jnp.full((batch, steps), PAD, jnp.int32),
            jnp.zeros((batch, steps, num_keys), jnp.float32),
        )

    def advance(item: Item, state: _Search) -> _Search:
        time, running = state.time, state.running
        decoder, logits, weights = model.step(
            params, item.memory, state.decoder, state.tokens
        )
        tokens = choose(restricted(logits, item.limits, time), time, item.key)
        chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
        log_probs = jnp.minimum(chosen - log_sum_exp(logits), 0)
        # A row that has ended writes nowhere.
        here = jnp.arange(len(time)), jnp.where(running, time, steps)
        return _Search(
            time + running.astype(jnp.int32),
            decoder,
            tokens,
            # The limit again: where logits are NaN no token is EOS.
            running & (tokens != EOS) & (time < jnp.asarray(item.limits.longest)),
            state.log_probs + jnp.where(running, log_probs, 0),
            state.all_tokens.at[here].set(tokens, mode="drop"),
            state.weights.at[here].set(weights.astype(jnp.float32), mode="drop"),
        )

    def result(state: _Search) -> Decoded:
        # EOS took a step too.
        lengths = jnp.maximum(state.time - 1, 0)
        log_probs = state.log_probs
        return Decoded(state.all_tokens, lengths, log_probs, log_probs, state.weights)

    def running(state: _Search) -> Array:
        return state.running

    return search_all(model, params, request, keys, begin, advance, running, result)


def draw(
    rng: Array,
    logits: Float[Array, " W"],
    *,
    temperature: Float[ArrayLike, ""],
    top_k: int = 0,
    top_p: Float[ArrayLike, ""] | None = None,
) -> Int[Array, ""]:
    """One drawn token; -inf marks what may not be drawn. top_p None keeps all.

    The maximum of logits with Gumbel noise added is distributed as their softmax.
    """
    logits = logits / temperature
    tokens = None
    if 0 < top_k < logits.shape[-1]:
        logits, tokens = top_k_tokens(logits, top_k)
    if top_p is not None:
        logits = jnp.where(in_nucleus(logits, top_p), logits, -jnp.inf)
    # In fewer digits JAX's draws are biased.
    wide = logits.astype(jnp.float32)
    index = first_maximum(wide + jax.random.gumbel(rng, wide.shape, wide.dtype))[1]
    return index if tokens is None else tokens[index]


def in_nucleus(logits: Float[Array, " W"], top_p: Float[ArrayLike, ""]) -> Array:
    """Which tokens are among the fewest whose probabilities sum to at least `top_p`.

    The likeliest is always one; tokens as likely as the last one all are.
    """
    probs = jax.nn.softmax(logits)
    falling = jnp.sort(probs, descending=True)
    # A token is needed if those before it do not suffice.
    first = jnp.arange(falling.size) == 0
    needed = first | (jnp.cumsum(falling) - falling < top_p)
    least = jnp.min(jnp.where(needed, falling, jnp.inf))
    return probs >= least


@functools.partial(jax.jit, static_argnums=0)
def force_decode(model: Model, params: Params, batch: Batch) -> Decoded:
    """The log-probability and the attention of each of the batch's targets.

        log p(w | source) = Σ_t log p(w_t | w_1..w_{t-1}, source), EOS included

    One pass of teacher forcing, all steps at once. A search that finds these tokens finds
    this log_prob, to rounding.

    Args:
      model: from `build_model`. params: its parameters.
      batch: sources and targets; a row whose target has length 0 is padding, all 0.

    Returns:
      `Decoded`, [B], with the targets as tokens; scores are log_probs.
    """
    logits, weights = model.apply(params, batch)
    targets, lengths = batch.target_outputs, batch.target_lengths
    inside = jnp.arange(targets.shape[1])[None] < lengths[:, None]
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    log_probs = jnp.minimum(chosen - log_sum_exp(logits), 0)
    total = jnp.sum(jnp.where(inside, log_probs, 0), axis=1)
    num_tokens = jnp.sum(inside & (targets != EOS), axis=1)
    return Decoded(
        jnp.where(inside, targets, PAD),
        num_tokens.astype(jnp.int32),
        total,
        total,
        jnp.where(inside[..., None], weights, 0),
    )
