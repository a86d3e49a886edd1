"""Beam search: the likeliest few translations at every step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.data.vocabulary import BOS, EOS
from attention_jax.decoding.back_pointers import BackPointers, trace_back
from attention_jax.decoding.base import Decoded
from attention_jax.decoding.continuous_batching import encode_all, search_all
from attention_jax.decoding.limits import Limits, check_search, restricted, whole
from attention_jax.decoding.penalties import coverage_penalties, length_penalties
from attention_jax.decoding.top_k import log_sum_exp, top_words
from attention_jax.models.attention_wiring import Memory
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, ArrayLike, Float, Int


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


class _Item(NamedTuple):
    memory: Memory
    limits: Limits


class _Finished(NamedTuple):
    """The best N translations of each sentence so far, the best first."""

    scores: Float[Array, "B N"]
    log_probs: Float[Array, "B N"]
    # After so many words EOS was chosen, from this place of the beam.
    lengths: Int[Array, "B N"]
    places: Int[Array, "B N"]


class _Search(NamedTuple):
    time: Int[Array, " B"]
    # Every leaf [B, K, ...].
    decoder: Any
    words: Int[Array, "B K"]
    # -inf: nothing is in this place, or its sentence is done.
    log_probs: Float[Array, "B K"]
    coverage: Float[Array, "B K S"] | None
    finished: _Finished
    pointers: BackPointers


def beam_decode(
    model: Model,
    params: Params,
    source: Int[ArrayLike, "B S"],
    source_lengths: Int[ArrayLike, " B"],
    *,
    max_length: int,
    beam_size: int,
    n_best: int = 1,
    ranking: Ranking = Ranking(),  # noqa: B008 - immutable
    limits: Limits | None = None,
    slots: int = 0,
) -> Decoded:
    """Keeps the `beam_size` likeliest unfinished translations at every step.

    Of all words that may follow a translation in the beam, the K likeliest continuations
    are looked at: those that end with EOS are finished, and ranked by

        log p(w | source) / length_penalty(|w|) + β coverage_penalty(a)

    Then the K likeliest continuations that did not end are the new beam. A sentence is
    done when nothing in its beam could still come among its n_best: log-probabilities
    only fall, length penalties grow at most to that of the longest translation allowed,
    and coverage penalties are at most 0. So stopping never changes what is found.

    Args:
      model, params, source, source_lengths, max_length, limits, slots: as
        `greedy_decode`.
      beam_size: K. With 1, and no penalties, this is greedy search.
      n_best: N, how many translations a sentence, at most K.
      ranking: penalties; none by default.

    Returns:
      `Decoded`, [B, N], the best first. A sentence may have fewer than N translations:
      the others have score and log_prob -inf, and PAD alone. A row of length 0 has one,
      of no words.

    Raises:
      TypeError, ValueError: as `greedy_decode`; another number out of its range.
      UnknownNameError: no such penalty.

    The source is encoded and its keys prepared once a sentence, not once a place of the
    beam. A step's products have K rows a sentence; back-pointers are followed once, at the
    end.
    """
    beam_size, n_best = whole("beam_size", beam_size), whole("n_best", n_best)
    _check(beam_size, n_best, ranking)
    arguments = check_search(source, source_lengths, max_length, limits, slots)
    # Only the names are static: other exponents and weights do not compile anew.
    return _search(
        model,
        params,
        *arguments,
        jnp.float32(ranking.alpha),
        jnp.float32(ranking.beta),
        beam_size=int(beam_size),
        n_best=int(n_best),
        length=ranking.length,
        coverage=ranking.coverage if ranking.beta else "none",
    )


def _check(beam_size: int, n_best: int, ranking: Ranking) -> None:
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    if not 1 <= n_best <= beam_size:
        raise ValueError(
            f"n_best must be at least 1 and at most beam_size, {beam_size}; "
            f"got {n_best}"
        )
    length_penalties.get(ranking.length)
    coverage_penalties.get(ranking.coverage)
    for name in ("alpha", "beta"):
        value = getattr(ranking, name)
        if not value >= 0:
            raise ValueError(f"ranking.{name} must be at least 0, got {value}")


@functools.partial(
    jax.jit,
    static_argnames=(
        "model",
        "max_length",
        "slots",
        "beam_size",
        "n_best",
        "length",
        "coverage",
    ),
)
def _search(
    model: Model,
    params: Params,
    source: Array,
    source_lengths: Array,
    limits: Limits,
    max_length: int,
    slots: int,
    alpha: Array,
    beta: Array,
    *,
    beam_size: int,
    n_best: int,
    length: str,
    coverage: str,
) -> Decoded:
    memory, number = encode_all(model, params, source, source_lengths, slots)
    steps, num_keys = max_length + 1, source.shape[1]
    # The memory is the sentence's, whatever the place of the beam. Logits, the largest
    # array, come with the beam in front, as they are made.
    step_all = jax.vmap(model.step, in_axes=(None, None, 1, 1), out_axes=(1, 0, 1))

    def divisor(words: Array) -> Array:
        """The length penalty of so many words and EOS."""
        return length_penalties.get(length)((words + 1).astype(jnp.float32), alpha)

    def begin(item: _Item) -> _Search:
        lengths = item.memory.lengths
        batch = lengths.shape[0]
        in_beam, kept = (batch, beam_size), (batch, n_best)
        # In the beginning there is one translation, of no words, in the first place.
        first = (jnp.arange(beam_size)[None] == 0) & (lengths > 0)[:, None]
        dtype = item.memory.values.dtype
        return _Search(
            jnp.zeros(batch, jnp.int32),
            jax.tree.map(
                lambda leaf: jnp.broadcast_to(
                    leaf[:, None], (batch, beam_size, *leaf.shape[1:])
                ),
                model.start(item.memory),
            ),
            jnp.full(in_beam, BOS, jnp.int32),
            jnp.where(first, 0.0, -jnp.inf),
            None if coverage == "none" else jnp.zeros((*in_beam, num_keys)),
            _Finished(
                jnp.full(kept, -jnp.inf),
                jnp.full(kept, -jnp.inf),
                jnp.zeros(kept, jnp.int32),
                jnp.zeros(kept, jnp.int32),
            ),
            BackPointers(
                jnp.zeros((batch, steps, beam_size), jnp.int32),
                jnp.zeros((batch, steps, beam_size), jnp.int32),
                jnp.zeros((batch, steps, beam_size, num_keys), dtype),
            ),
        )

    def running(search: _Search) -> Array:
        return jnp.any(search.log_probs > -jnp.inf, axis=1)

    def advance(item: _Item, search: _Search) -> _Search:
        time, on = search.time, running(search)
        decoder, logits, weights = step_all(
            params, item.memory, search.decoder, search.words
        )
        ending, words, places, log_probs = continuations(
            logits, search.log_probs, item.limits, time
        )
        scores, seen = ending / divisor(time)[:, None], None
        if search.coverage is not None:
            valid = jnp.arange(num_keys)[None] < item.memory.lengths[:, None]
            seen = search.coverage + weights
            scores += beta * coverage_penalties.get(coverage)(seen, valid[:, None])
        finished = _merge(search.finished, scores, ending, time)
        bound = jnp.max(log_probs, axis=1) / divisor(jnp.asarray(item.limits.longest))
        done = finished.scores[:, -1] >= bound

        def follow(leaf: Array) -> Array:
            index = places.reshape(places.shape + (1,) * (leaf.ndim - 2))
            return jnp.take_along_axis(leaf, index, axis=1)

        # A row that is done writes nowhere.
        here = jnp.arange(len(time)), jnp.where(on, time, steps)
        pointers = BackPointers(words, places, weights)
        return _Search(
            time + 1,
            jax.tree.map(follow, decoder),
            words,
            jnp.where(done[:, None], -jnp.inf, log_probs),
            None if seen is None else follow(seen),
            finished,
            jax.tree.map(
                lambda all_, new: all_.at[here].set(new, mode="drop"),
                search.pointers,
                pointers,
            ),
        )

    finished, pointers = search_all(
        _Item(memory, limits),
        number,
        slots=slots,
        begin=begin,
        advance=advance,
        running=running,
        result=lambda search: (search.finished, search.pointers),
    )
    blank = (source_lengths == 0)[:, None]
    found = (finished.scores > -jnp.inf) & ~blank
    tokens, weights = trace_back(pointers, finished.lengths, finished.places, found)
    # Nothing is the one translation of nothing, and certain.
    otherwise = jnp.where(blank & (jnp.arange(n_best)[None] == 0), 0.0, -jnp.inf)
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
) -> tuple[
    Float[Array, "B K"], Int[Array, "B K"], Int[Array, "B K"], Float[Array, "B K"]
]:
    """What comes of a beam in one step.

    Returns:
      ending: log p of each translation with EOS after it; -inf if that is not among the
        K likeliest continuations of all.
      words, places, log_probs: the K likeliest continuations by a word: which word, after
        which place of the beam, log p; -inf where there are fewer.
    """
    beam_size, batch, num_words = logits.shape
    total = log_sum_exp(logits)
    # EOS stands by itself: it ends a translation, and its rank decides.
    allowed = jax.vmap(restricted, in_axes=(0, None, None))(logits, limits, time)
    ending = log_probs + jnp.minimum(allowed[..., EOS] - total, 0).T
    is_end = jnp.arange(num_words)[None, None] == EOS
    best, words = top_words(
        jnp.where(is_end, -jnp.inf, allowed), min(beam_size, num_words)
    )
    following = log_probs.T[..., None] + jnp.minimum(best - total[..., None], 0)
    # [K, B, k] -> [B, K k], in the order of places: ties go to the earlier place.
    following = following.swapaxes(0, 1).reshape(batch, -1)
    words = words.swapaxes(0, 1).reshape(batch, -1)
    found, index = lax.top_k(following, beam_size)
    words = jnp.take_along_axis(words, index, axis=1)
    places = index // (following.shape[1] // beam_size)
    # Before a translation's end come likelier words, likelier ends, and as likely ends
    # of earlier places.
    mine, others = ending[:, :, None], ending[:, None]
    order = jnp.arange(beam_size)
    earlier = (order[:, None] > order[None])[None]
    ahead = jnp.sum((others > mine) | ((others == mine) & earlier), axis=2)
    ahead += jnp.sum(found[:, None] > mine, axis=2)
    ending = jnp.where(ahead < beam_size, ending, -jnp.inf)
    return ending, words.astype(jnp.int32), places.astype(jnp.int32), found


def _merge(
    finished: _Finished,
    scores: Float[Array, "B K"],
    log_probs: Float[Array, "B K"],
    time: Int[Array, " B"],
) -> _Finished:
    """The best N of what was finished before and now; ties to the earlier."""
    shape = scores.shape
    now = _Finished(
        scores,
        log_probs,
        jnp.broadcast_to(time[:, None], shape),
        jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.int32)[None], shape),
    )
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), finished, now)
    index = lax.top_k(both.scores, finished.scores.shape[1])[1]
    return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, index, axis=1), both)
