"""BLEU of short and of long sentences: where a fixed-size memory of the source gives out."""

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attention_jax.evaluation.significance import (
    SAMPLES,
    SEED,
    Estimate,
    paired_bootstrap,
)
from attention_jax.evaluation.translation_quality import check_texts


class LengthBin(NamedTuple):
    """The sentences whose sources have `shortest` to `longest` tokens.

    Attributes:
      shortest, longest: the extreme lengths that occur.
      mean_length: over its sentences.
      sentences: how many.
      bleu: each system's corpus BLEU of them, with its interval.
    """

    shortest: int
    longest: int
    mean_length: float
    sentences: int
    bleu: tuple[Estimate, ...]

    @property
    def name(self) -> str:
        """`4–6`, or `4`."""
        if self.shortest == self.longest:
            return str(self.shortest)
        return f"{self.shortest}–{self.longest}"


def equal_count_edges(lengths: Sequence[int], number: int) -> tuple[int, ...]:
    """The edges that cut the lengths into `number` bins of about as many sentences each.

    Sentences of one length stay together, so that there may be fewer bins.

    Returns:
      for `bleu_by_length`: the longest length of each bin but the last.

    Raises:
      ValueError: no lengths, or `number` below 1.
    """
    if not lengths:
        raise ValueError("lengths is empty: there is nothing to cut")
    if number < 1:
        raise ValueError(f"number must be at least 1, got {number}")
    ordered = sorted(lengths)
    # More bins than sentences have the edges of a bin for each.
    number = min(number, len(ordered))
    cuts = (math.ceil(i * len(ordered) / number) - 1 for i in range(1, number))
    edges = {ordered[max(cut, 0)] for cut in cuts}
    return tuple(sorted(edges - {ordered[-1]}))


def bleu_by_length(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    lengths: Sequence[int],
    *,
    edges: Sequence[int],
    language: str,
    lowercase: bool = False,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> tuple[LengthBin, ...]:
    """Corpus BLEU of each system in each bin of source lengths, short ones first.

    A bin's BLEU is that of its sentences as a corpus of their own; BLEU of all sentences is
    no mean of them. Intervals are those of `paired_bootstrap`, each system by itself.

    Args:
      systems: translations by name.
      references: of the sentences.
      lengths: of their sources, in tokens.
      edges: increasing; (5, 10) makes the bins up to 5, 6 to 10, and more than 10. A bin
        without sentences is left out.
      language, lowercase, samples, seed: as `paired_bootstrap` takes them.

    Raises:
      ValueError: not as many lengths as references, edges that do not increase, and what
        `paired_bootstrap` refuses.

    Bahdanau et al., 2015, arXiv:1409.0473, figure 2.
    """
    if len(lengths) != len(references):
        raise ValueError(
            f"lengths must be {len(references)}, one a reference, got {len(lengths)}"
        )
    if any(a >= b for a, b in itertools.pairwise(edges)):
        raise ValueError(f"edges must increase, got {', '.join(map(str, edges))}")
    for hypotheses in systems.values():
        check_texts(hypotheses, references)
    members: list[list[int]] = [[] for _ in range(len(edges) + 1)]
    for index, length in enumerate(lengths):
        members[bisect.bisect_left(edges, length)].append(index)
    bins = []
    for indices in filter(None, members):
        own = [lengths[index] for index in indices]
        chosen = [references[index] for index in indices]
        bleu = tuple(
            paired_bootstrap(
                {name: [hypotheses[index] for index in indices]},
                chosen,
                language=language,
                lowercase=lowercase,
                metrics=("BLEU",),
                samples=samples,
                seed=seed,
            )[0]
            for name, hypotheses in systems.items()
        )
        bins.append(LengthBin(min(own), max(own), sum(own) / len(own), len(own), bleu))
    return tuple(bins)
