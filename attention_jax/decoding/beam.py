"""Beam search: the likeliest few translations at every step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.data.vocabulary import BOS, EOS
from attention_jax.decoding.back_pointers import BackPointers, trace_back
from attention_jax.decoding.decoded import Decoded
from attention_jax.decoding.limits import Limits, check_search, restricted
from attention_jax.decoding.penalties import coverage_penalties, length_penalties
from attention_jax.decoding.top_words import log_sum_exp, top_words
from attention_jax.models.functional import Model, Params
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


class _Finished(NamedTuple):
    """The best N translations so far, the best first."""

    scores: Float[Array, "N B"]
    log_probs: Float[Array, "N B"]
    # After so many words EOS was chosen, from this place of the beam.
    lengths: Int[Array, "N B"]
    places: Int[Array, "N B"]


class _Search(NamedTuple):
    time: Array
    state: Any
    words: Int[Array, "K B"]
    # -inf: nothing is in this place, or its sentence is done.
    log_probs: Float[Array, "K B"]
    coverage: Float[Array, "K B S"] | None
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
      model, params, source, source_lengths, max_length, limits: as `greedy_decode`.
      beam_size: K. With 1, and no length penalty, this is greedy search.
      n_best: N, how many translations a sentence, at most K.
      ranking: penalties; none by default.

    Returns:
      `Decoded`, [B, N], the best first. A sentence may have fewer than N translations:
      the others have score and log_prob -inf, and PAD alone.

    Raises:
      ValueError: a number out of its range, or shapes that do not fit.
      UnknownNameError: no such penalty.

    The source is encoded and its keys prepared once a sentence, not once a place of the
    beam. A step costs K greedy steps; back-pointers are followed once, at the end.
    """
    _check(beam_size, n_best, ranking)
    arguments = check_search(source, source_lengths, max_length, limits)
    # Only the names are static: other exponents and weights do not compile anew.
    return _search(
        model,
        params,
        *arguments,
        jnp.float32(ranking.alpha),
        jnp.float32(ranking.beta),
        max_length=int(max_length),
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
    alpha: Array,
    beta: Array,
    *,
    max_length: int,
    beam_size: int,
    n_best: int,
    length: str,
    coverage: str,
) -> Decoded:
    memory = model.encode(params, source, source_lengths)
    batch, num_keys = source.shape
    steps = max_length + 1
    valid = jnp.arange(num_keys)[None] < source_lengths[:, None]
    # The memory is the sentence's, whatever the place of the beam.
    step_all = jax.vmap(model.step, in_axes=(None, None, 0, 0))

    def divisor(words: Array) -> Array:
        """The length penalty of so many words and EOS."""
        return length_penalties.get(length)((words + 1).astype(jnp.float32), alpha)

    def unfinished(search: _Search) -> Array:
        return (search.time < steps) & jnp.any(search.log_probs > -jnp.inf)

    def extend(search: _Search) -> _Search:
        time = search.time
        state, logits, weights = step_all(params, memory, search.state, search.words)
        seen = None
        if search.coverage is not None:
            seen = search.coverage + weights
        ending, words, places, log_probs = continuations(
            logits, search.log_probs, limits, time
        )
        scores = ending / divisor(time)
        if seen is not None:
            scores += beta * coverage_penalties.get(coverage)(seen, valid[None])
        finished = _merge(search.finished, scores, ending, time)
        bound = jnp.max(log_probs, axis=0) / divisor(jnp.asarray(limits.longest))
        done = finished.scores[-1] >= bound
        log_probs = jnp.where(done[None], -jnp.inf, log_probs)

        def follow(leaf: Array) -> Array:
            index = places.reshape(places.shape + (1,) * (leaf.ndim - 2))
            return jnp.take_along_axis(leaf, index, axis=0)

        pointers = search.pointers
        return _Search(
            time + 1,
            jax.tree.map(follow, state),
            words,
            log_probs,
            None if seen is None else follow(seen),
            finished,
            BackPointers(
                pointers.words.at[time].set(words),
                pointers.places.at[time].set(places),
                pointers.weights.at[time].set(weights),
            ),
        )

    in_beam = (beam_size, batch)
    per_sentence = (n_best, batch)
    # In the beginning there is one translation, of no words, in the first place.
    first = (jnp.arange(beam_size)[:, None] == 0) & (source_lengths > 0)[None]
    start = _Search(
        jnp.zeros((), jnp.int32),
        jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (beam_size, *leaf.shape)),
            model.start(memory),
        ),
        jnp.full(in_beam, BOS, jnp.int32),
        jnp.where(first, 0.0, -jnp.inf),
        None if coverage == "none" else jnp.zeros((*in_beam, num_keys)),
        _Finished(
            jnp.full(per_sentence, -jnp.inf),
            jnp.full(per_sentence, -jnp.inf),
            jnp.zeros(per_sentence, jnp.int32),
            jnp.zeros(per_sentence, jnp.int32),
        ),
        BackPointers(
            jnp.zeros((steps, *in_beam), jnp.int32),
            jnp.zeros((steps, *in_beam), jnp.int32),
            jnp.zeros((steps, *in_beam, num_keys), memory.values.dtype),
        ),
    )
    end = lax.while_loop(unfinished, extend, start)
    finished = end.finished
    tokens, weights = trace_back(
        end.pointers, finished.lengths, finished.places, finished.scores > -jnp.inf
    )
    return Decoded(
        tokens,
        finished.lengths.T,
        finished.log_probs.T,
        finished.scores.T,
        weights,
    )


def continuations(
    logits: Float[Array, "K B W"],
    log_probs: Float[Array, "K B"],
    limits: Limits,
    time: Int[Array, ""],
) -> tuple[
    Float[Array, "K B"], Int[Array, "K B"], Int[Array, "K B"], Float[Array, "K B"]
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
    ending = log_probs + jnp.minimum(allowed[..., EOS] - total, 0)
    is_end = jnp.arange(num_words)[None, None] == EOS
    best, words = top_words(
        jnp.where(is_end, -jnp.inf, allowed), min(beam_size, num_words)
    )
    following = log_probs[..., None] + jnp.minimum(best - total[..., None], 0)
    # [K, B, k] -> [B, K k], in the order of places: ties go to the earlier place.
    following = following.swapaxes(0, 1).reshape(batch, -1)
    words = words.swapaxes(0, 1).reshape(batch, -1)
    found, index = lax.top_k(following, beam_size)
    words = jnp.take_along_axis(words, index, axis=1)
    places = index // (following.shape[1] // beam_size)
    # Before a translation's end come likelier words, likelier ends, and as likely ends
    # of earlier places.
    earlier = jnp.arange(beam_size)[:, None] > jnp.arange(beam_size)[None]
    mine, others = ending[:, None], ending[None]
    ahead = jnp.sum((others > mine) | ((others == mine) & earlier[..., None]), axis=1)
    ahead += jnp.sum(found.T[None] > mine, axis=1)
    ending = jnp.where(ahead < beam_size, ending, -jnp.inf)
    return ending, words.T.astype(jnp.int32), places.T.astype(jnp.int32), found.T


def _merge(
    finished: _Finished,
    scores: Float[Array, "K B"],
    log_probs: Float[Array, "K B"],
    time: Int[Array, ""],
) -> _Finished:
    """The best N of what was finished before and now; ties to the earlier."""
    beam_size, batch = scores.shape
    here = jnp.arange(beam_size, dtype=jnp.int32)[:, None]
    now = _Finished(
        scores,
        log_probs,
        jnp.broadcast_to(time, (beam_size, batch)),
        jnp.broadcast_to(here, (beam_size, batch)),
    )
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), finished, now)
    _, best = lax.top_k(both.scores.T, len(finished.scores))
    return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, best.T, axis=0), both)
