"""Small models whose translations vary, and searches written as plain loops."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.data.codec import BOS, EOS, PAD
from attention_jax.models import build_model
from tests.models.cases import (
    SOURCE_VOCABULARY,
    TARGET_VOCABULARY,
    batch,
    config,
    rough,
)

LENGTHS = (4, 1, 6, 0, 3, 5, 2, 6)

# Parameters under which greedy translations end early, late and never.
SEEDS = {"after": 5, "input_feeding": 2, "before": 4, "none": 7}


def make(wiring="after", end=1.0, vocabulary=TARGET_VOCABULARY, scale=4.0, **changes):
    """A model whose words vary; `end` is added to the logit of EOS."""
    settings = config(attention=wiring, decoder_size=6, embedding_size=7, **changes)
    model = build_model(settings, SOURCE_VOCABULARY, vocabulary)
    params = jax.tree.map(lambda x: scale * x, rough(model, SEEDS[wiring]))
    params["decoder"]["projection_bias"] = jnp.zeros(vocabulary).at[EOS].set(end)
    return model, params


def sources(lengths=LENGTHS):
    """Sentences of these lengths."""
    words = batch(seed=5, lengths=lengths)
    return words.source, words.source_lengths


def count_steps(model):
    """The model with its steps counted, and a function of results that tells how many."""
    steps = []

    def step(*arguments):
        jax.debug.callback(lambda: steps.append(None))
        return model.step(*arguments)

    def number(results):
        jax.block_until_ready(results)
        jax.effects_barrier()
        taken = len(steps)
        steps.clear()
        return taken

    return model._replace(step=step), number


class Stepper:
    """One sentence's model: log-probabilities and attention after any words."""

    def __init__(self, model, params, source, length):
        self.model, self.params = model, params
        self.memory = jax.jit(model.encode)(params, source[None], length[None])
        self.step = jax.jit(model.step)
        self.known = {(): self._advance(model.start(self.memory), BOS)}

    def _advance(self, state, word):
        state, logits, weights = self.step(
            self.params, self.memory, state, jnp.array([word])
        )
        logits = np.asarray(logits[0], np.float64)
        shifted = logits - logits.max()
        log_probs = shifted - np.log(np.exp(shifted).sum())
        return state, log_probs, np.asarray(weights[0], np.float64)

    def __call__(self, words):
        """(log-probabilities of what follows `words`, the attention behind them)."""
        words = tuple(words)
        if words not in self.known:
            self(words[:-1])
            state, _, _ = self.known[words[:-1]]
            self.known[words] = self._advance(state, words[-1])
        return self.known[words][1:]

    def attention(self, words):
        """The attention of each step, the one that chose EOS included."""
        return np.stack([self(words[:t])[1] for t in range(len(words) + 1)])


def slow_beam(stepper, *, vocabulary, beam_size, shortest, longest, score):
    """Beam search as lists, to the longest length whatever has been found.

    Returns (score, log_prob, words) of everything finished, the best first.
    """
    live, finished = [(0.0, ())], []
    for time in range(longest + 1):
        candidates = []
        for log_prob, words in live:
            following, _ = stepper(words)
            for word in range(vocabulary):
                if word in (PAD, BOS):
                    continue
                if word == EOS and time < shortest:
                    continue
                if word != EOS and time == longest:
                    continue
                candidates.append((log_prob + following[word], words, word))
        candidates.sort(key=lambda candidate: -candidate[0])
        for log_prob, words, word in candidates[:beam_size]:
            if word == EOS:
                finished.append((score(words, log_prob), log_prob, words))
        going_on = [candidate for candidate in candidates if candidate[2] != EOS]
        live = [(p, (*words, word)) for p, words, word in going_on[:beam_size]]
    return sorted(finished, key=lambda found: -found[0])
