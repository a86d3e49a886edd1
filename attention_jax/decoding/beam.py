"""Beam search: the K likeliest unfinished hypotheses at every step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.data.codec import BOS, EOS, PAD
from attention_jax.decoding.base import (
    Decoded,
    Limits,
    Request,
    integer,
    make_request,
    restricted,
)
from attention_jax.decoding.continuous_batching import Item, search_all
from attention_jax.decoding.penalties import coverage_penalties, length_penalties
from attention_jax.decoding.top_k import log_sum_exp, top_k_tokens
from attention_jax.functions.ordering import top_k
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, ArrayLike, Bool, Float, Int


class Ranking(NamedTuple):
    """How finished translations are ranked; `penalties` has the formulas.

    Attributes:
      length: a name of `length_penalties`. alpha: its exponent, at least 0.
      coverage: a name of `coverage_penalties`. beta: its weight, at least 0.
    """

    length: str = "none"
    alpha: float = 1.0
    coverage: str = "none"
    beta: float = 0.0


def beam_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    beam_size: int,
    ranking: Ranking = Ranking(),  # noqa: B008 - immutable
    **options: Any,
) -> Decoded:
    """Keeps the `beam_size` likeliest unfinished translations at every step.

    Of all tokens that may follow a translation in the beam, the K likeliest continuations
    are looked at: those that end with EOS are finished, and ranked by

        log p(w | source) / length_penalty(|w|) + β coverage_penalty(a)

    Then the K likeliest continuations that did not end are the new beam. A sentence is
    done when nothing in its beam could still come among its n_best: log-probabilities
    only fall, length penalties grow at most to that of the longest translation allowed,
    and coverage penalties are at most 0. So stopping never changes what is found.

    Args:
      model, params, source, source_lengths: as `greedy_decode`.
      beam_size: K. With 1, and no penalties, this is greedy search.
      ranking: penalties; none by default.
      **options: `make_request`'s: max_length, n_best (at most K), limits, slots.

    Returns:
      `Decoded`, [B, N], the best first. A sentence may have fewer than N translations:
      the others have score and log_prob -inf, and PAD alone. A row of length 0 has one,
      without tokens.

    Raises:
      TypeError, ValueError: as `make_request`; another number out of its range.
      UnknownNameError: no such penalty.

    The source is encoded and its keys prepared once a sentence, not once a hypothesis. A
    step's products have K rows a sentence; back-pointers are followed once, at the end.
    """
    request = make_request(source, source_lengths, **options)
    return beam_search(model, params, request, beam_size, ranking)


def beam_search(
    model: Model, params: Params, request: Request, beam_size: int, ranking: Ranking
) -> Decoded:
    """`beam_decode` of a request."""
    beam_size = integer("beam_size", beam_size, least=1)
    if request.n_best > beam_size:
        raise ValueError(
            f"n_best must be at most beam_size, {beam_size}; got {request.n_best}"
        )
    if not (ranking.alpha >= 0 and ranking.beta >= 0):
        raise ValueError(f"alpha and beta must be at least 0, got {ranking}")
    # Only the names are static: other exponents and weights do not compile anew.
    names = (ranking.length, ranking.coverage if ranking.beta else "none")
    numbers = (jnp.float32(ranking.alpha), jnp.float32(ranking.beta))
    return _search(model, params, request, numbers, names, beam_size)


class _Finished(NamedTuple):
    """The best N translations of each sentence so far, the best first."""

    scores: Float[Array, "B N"]
    log_probs: Float[Array, "B N"]
    # EOS was chosen after this many tokens, by this hypothesis of the beam.
    lengths: Int[Array, "B N"]
    hypotheses: Int[Array, "B N"]


class BackPointers(NamedTuple):
    """What step t did with every hypothesis k of the beam."""

    # What was appended to which hypothesis before step t.
    tokens: Int[Array, "B L K"]
    parents: Int[Array, "B L K"]
    # By hypothesis k as it was before step t.
    weights: Float[Array, "B L K S"]


class _Search(NamedTuple):
    time: Int[Array, " B"]
    # Every leaf [B, K, ...].
    decoder: Any
    tokens: Int[Array, "B K"]
    # -inf: there is no such hypothesis, or its sentence is done.
    log_probs: Float[Array, "B K"]
    coverage: Float[Array, "B K S"] | None
    finished: _Finished
    pointers: BackPointers


@functools.partial(jax.jit, static_argnames=("model", "penalties", "beam_size"))
def _search(
    model: Model,
    params: Params,
    request: Request,
    exponents: tuple[Array, Array],
    penalties: tuple[str, str],
    beam_size: int,
) -> Decoded:
    (alpha, beta), (length, coverage) = exponents, penalties
    steps, num_keys = request.max_length + 1, request.source.shape[1]
    # The memory is the sentence's, whatever the hypothesis. Logits, the largest array,
    # come with the beam in front, as they are made.
    step_all = jax.vmap(model.step, in_axes=(None, None, 1, 1), out_axes=(1, 0, 1))

    length_penalty = length_penalties.get(length)
    coverage_penalty = coverage_penalties.get(coverage)

    def divisor(num_tokens: Array) -> Array:
        """The length penalty of a number of tokens and EOS."""
        return length_penalty((num_tokens + 1).astype(jnp.float32), alpha)

    def begin(item: Item) -> _Search:
        batch = len(item.lengths)
        in_beam, kept = (batch, beam_size), (batch, request.n_best)
        none, zeros = jnp.full(kept, -jnp.inf), jnp.zeros(kept, jnp.int32)
        unwritten = jnp.zeros((batch, steps, beam_size), jnp.int32)
        unseen = jnp.zeros((*unwritten.shape, num_keys), jnp.float32)
        # In the beginning there is one hypothesis, without tokens.
        first = (jnp.arange(beam_size)[None] == 0) & (item.lengths > 0)[:, None]

        def repeat(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf[:, None], (*in_beam, *leaf.shape[1:]))

        return _Search(
            jnp.zeros(batch, jnp.int32),
            jax.tree.map(repeat, model.start(item.memory)),
            jnp.full(in_beam, BOS, jnp.int32),
            jnp.where(first, 0.0, -jnp.inf),
            None if coverage == "none" else jnp.zeros((*in_beam, num_keys)),
            _Finished(none, none, zeros, zeros),
            BackPointers(unwritten, unwritten, unseen),
        )

    def running(state: _Search) -> Array:
        return jnp.any(state.log_probs > -jnp.inf, axis=1)

    def advance(item: Item, state: _Search) -> _Search:
        time, on = state.time, running(state)
        decoder, logits, weights = step_all(
            params, item.memory, state.decoder, state.tokens
        )
        ending, tokens, parents, log_probs = continuations(
            logits, state.log_probs, item.limits, time
        )
        scores, seen = ending / divisor(time)[:, None], None
        if state.coverage is not None:
            valid = jnp.arange(num_keys)[None] < item.lengths[:, None]
            seen = state.coverage + weights
            scores += beta * coverage_penalty(seen, valid[:, None])
        finished = _merge(state.finished, scores, ending, time)
        bound = jnp.max(log_probs, axis=1) / divisor(jnp.asarray(item.limits.longest))
        done = finished.scores[:, -1] >= bound

        def follow(leaf: Array) -> Array:
            index = parents.reshape(parents.shape + (1,) * (leaf.ndim - 2))
            return jnp.take_along_axis(leaf, index, axis=1)

        # A row that is done writes nowhere.
        here = jnp.arange(len(time)), jnp.where(on, time, steps)
        new = BackPointers(tokens, parents, weights.astype(jnp.float32))
        pointers = jax.tree.map(
            lambda leaf, one: leaf.at[here].set(one, mode="drop"), state.pointers, new
        )
        return _Search(
            time + 1,
            jax.tree.map(follow, decoder),
            tokens,
            jnp.where(done[:, None], -jnp.inf, log_probs),
            None if seen is None else follow(seen),
            finished,
            pointers,
        )

    def result(state: _Search) -> tuple[_Finished, BackPointers]:
        return state.finished, state.pointers

    finished, pointers = search_all(
        model, params, request, None, begin, advance, running, result
    )
    blank = (request.source_lengths == 0)[:, None]
    found = (finished.scores > -jnp.inf) & ~blank
    tokens, weights = trace_back(pointers, finished.lengths, finished.hypotheses, found)
    # A blank sentence has one translation, without tokens, of probability 1.
    first = jnp.arange(request.n_best)[None] == 0
    otherwise = jnp.where(blank & first, 0.0, -jnp.inf)
    return Decoded(
        tokens,
        finished.lengths,
        jnp.where(found, finished.log_probs, otherwise),
        jnp.where(found, finished.scores, otherwise),
        weights,
    )


def continuations(
    logits: Float[Array, "K B W"],
    log_probs: Float[Array, "B K"],
    limits: Limits,
    time: Int[Array, " B"],
) -> tuple[Array, Array, Array, Array]:
    """The continuations of a beam by one step, each [B, K].

    Returns:
      ending: log p of each hypothesis with EOS after it; -inf if that is not among the
        K likeliest continuations of all.
      tokens, parents, log_probs: the K likeliest continuations that do not end: which
        token, after which hypothesis, log p; -inf where there are fewer.
    """
    beam_size, batch, num_tokens = logits.shape
    total = log_sum_exp(logits)
    # EOS stands by itself: it ends a translation, and its rank decides.
    allowed = jax.vmap(restricted, in_axes=(0, None, None))(logits, limits, time)
    ending = log_probs + jnp.minimum(allowed[..., EOS] - total, 0).T
    is_end = jnp.arange(num_tokens)[None, None] == EOS
    best, tokens = top_k_tokens(
        jnp.where(is_end, -jnp.inf, allowed), min(beam_size, num_tokens)
    )
    following = log_probs.T[..., None] + jnp.minimum(best - total[..., None], 0)
    # [K, B, k] -> [B, K k], in the beam's order: ties go to the earlier hypothesis.
    following = following.swapaxes(0, 1).reshape(batch, -1)
    tokens = tokens.swapaxes(0, 1).reshape(batch, -1)
    found, index = top_k(following, beam_size)
    tokens = jnp.take_along_axis(tokens, index, axis=1)
    parents = index // (following.shape[1] // beam_size)
    # Ahead of a hypothesis's end are likelier tokens, likelier ends, and ends of earlier
    # hypotheses that are as likely.
    mine, others = ending[:, :, None], ending[:, None]
    order = jnp.arange(beam_size)
    earlier = (order[:, None] > order[None])[None]
    ahead = jnp.sum((others > mine) | ((others == mine) & earlier), axis=2)
    ahead += jnp.sum(found[:, None] > mine, axis=2)
    ending = jnp.where(ahead < beam_size, ending, -jnp.inf)
    return ending, tokens.astype(jnp.int32), parents.astype(jnp.int32), found


def _merge(
    finished: _Finished,
    scores: Float[Array, "B K"],
    log_probs: Float[Array, "B K"],
    time: Int[Array, " B"],
) -> _Finished:
    """The best N of what was finished before and now; ties to the earlier."""
    shape = scores.shape
    hypotheses = jnp.arange(shape[1], dtype=jnp.int32)[None]
    places = (jnp.broadcast_to(one, shape) for one in (time[:, None], hypotheses))
    now = _Finished(scores, log_probs, *places)
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), finished, now)
    index = top_k(both.scores, finished.scores.shape[1])[1]
    return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, index, axis=1), both)


def trace_back(
    pointers: BackPointers,
    lengths: Int[Array, "B N"],
    hypotheses: Int[Array, "B N"],
    found: Bool[Array, "B N"],
) -> tuple[Int[Array, "B N L"], Float[Array, "B N L S"]]:
    """The tokens and attention of translations that ended after `lengths` tokens.

    Followed once, after the search, instead of copying what was written so far whenever
    the beam's order changes. Where nothing was found: PAD and 0.
    """

    def follow(index: Array, step: tuple[Array, BackPointers]) -> tuple[Array, tuple]:
        time, (tokens, parents, weights) = step
        ends = found & (time == lengths)
        inside = found & (time < lengths)
        token = jnp.take_along_axis(tokens, index, axis=1)
        token = jnp.where(ends, EOS, jnp.where(inside, token, PAD))
        parent = jnp.where(inside, jnp.take_along_axis(parents, index, axis=1), index)
        row = jnp.take_along_axis(weights, parent[..., None], axis=1)
        row = jnp.where((ends | inside)[..., None], row, 0)
        return parent, (token, row)

    by_time = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), pointers)
    steps = jnp.arange(len(by_time.tokens))
    _, (tokens, weights) = lax.scan(follow, hypotheses, (steps, by_time), reverse=True)
    return tokens.transpose(1, 2, 0), weights.transpose(1, 2, 0, 3)
