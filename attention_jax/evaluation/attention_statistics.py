"""Statistics of the attention in a sentence: entropy, coverage, repetition, order."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

# A source word with less attention than this, over all target words, was not covered.
LEAST_COVERED = 0.5


@dataclasses.dataclass(frozen=True)
class AttentionStatistics:
    """Statistics of one sentence, or their mean over sentences; None where not defined.

    Rows need not sum to 1, as `sigmoid`'s and `softmax_one`'s do not: p_t = a_t / Σ_s a_ts,
    and a word that attends to nothing has neither entropy nor an argmax.

    Attributes:
      entropy: mean over target words of H(p_t) = -Σ_s p_ts log p_ts, in nats.
      relative_entropy: mean of H(p_t) / log S: 0 attends to one word, 1 to all alike; of
        sentences of two source words or more.
      covered: share of source words s with c_s = Σ_t a_ts of at least LEAST_COVERED.
      repeated: share of all attention that is beyond the first whole one to a source word,
        Σ_s max(c_s - 1, 0) / Σ_s c_s. At least 1 - S / T where each row sums to 1.
      monotonicity: Kendall's τ-b between target and argmax source position: 1 in order,
        -1 reversed; of sentences where both vary.
      last_word: share of all attention on the last source word, often the full stop.
    """

    entropy: float | None
    relative_entropy: float | None
    covered: float | None
    repeated: float | None
    monotonicity: float | None
    last_word: float | None


def attention_statistics(weights: Float[np.ndarray, "T S"]) -> AttentionStatistics:
    """The statistics of one sentence; all None where T or S is 0, or a weight below 0.

    Raises:
      ValueError: weights are not a matrix, or one is not a finite number.
    """
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or not np.isfinite(weights).all():
        raise ValueError(f"weights must be [T, S] and finite, got {weights}")
    nothing = AttentionStatistics(*[None] * 6)
    if not weights.size or weights.min() < 0:
        return nothing
    source = weights.shape[1]
    looking = weights[weights.any(axis=1)]
    if not looking.size:
        return dataclasses.replace(nothing, covered=0.0)
    shares = looking / looking.sum(axis=1, keepdims=True)
    logarithms = np.log(np.where(shares > 0, shares, 1))
    entropy = float(-(shares * logarithms).sum(axis=1).mean())
    coverage = weights.sum(axis=0)
    return AttentionStatistics(
        entropy=entropy,
        relative_entropy=entropy / math.log(source) if source > 1 else None,
        covered=float((coverage >= LEAST_COVERED).mean()),
        repeated=float(np.maximum(coverage - 1, 0).sum() / coverage.sum()),
        monotonicity=kendall_tau(looking.argmax(axis=1)),
        last_word=float(coverage[-1] / coverage.sum()),
    )


def mean_statistics(sentences: Iterable[AttentionStatistics]) -> AttentionStatistics:
    """The mean of each over the sentences that have it."""
    found = list(sentences)

    def mean(name: str) -> float | None:
        numbers = [x for one in found if (x := getattr(one, name)) is not None]
        return math.fsum(numbers) / len(numbers) if numbers else None

    names = [field.name for field in dataclasses.fields(AttentionStatistics)]
    return AttentionStatistics(**{name: mean(name) for name in names})


def kendall_tau(positions: Sequence[int] | np.ndarray) -> float | None:
    """Kendall's τ-b between 0, 1, 2, … and `positions`; None where they are all equal."""
    import scipy.stats  # takes as long to import as all of JAX

    if len(set(np.asarray(positions).tolist())) < 2:
        return None
    # method="asymptotic" would divide by zero for two positions (SciPy 1.17).
    found = scipy.stats.kendalltau(np.arange(len(positions)), positions)
    return float(found.statistic)
