"""What a search gives back."""

from typing import NamedTuple

from attention_jax.types import Array, Float, Int


class Decoded(NamedTuple):
    """Translations, one per leading index: [B] for one a sentence, [B, N] for N.

    Every translation ends with EOS, which is forced on one that is as long as it may be.
    So `log_probs` is always log p(words, EOS | source), what `force_decode` gives for
    the same words.

    Attributes:
      tokens: the words, EOS, then PAD; one longer than the words may be.
      lengths: the number of words, EOS not counted.
      log_probs: the sum over the words and EOS of their log-probabilities.
      scores: what the search ranked by; log_probs unless something was added. -inf where
        there is no translation: fewer were found than asked for.
      weights: the attention of each step, that of the step which chose EOS included; 0
        after it.
    """

    tokens: Int[Array, "... L"]
    lengths: Int[Array, " ..."]
    log_probs: Float[Array, " ..."]
    scores: Float[Array, " ..."]
    weights: Float[Array, "... L S"]
