"""Paired bootstrap: is a difference of scores more than the choice of sentences?"""

import dataclasses
import itertools
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast
from unittest import mock

import numpy as np

from attention_jax.evaluation.quality import check_texts, sacrebleu_metrics

# sacrebleu's own.
SAMPLES, SEED = 1000, 12345
METRICS = ("BLEU", "chrF2", "TER")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One system's score by one metric, and what resampling the sentences makes of it.

    Attributes:
      score: of all sentences; that of `translation_quality`.
      mean: over the resamples.
      half_width: of the 95 % interval; None of one sentence, which says nothing of others.
      p_value: of the difference to the baseline; None for the baseline itself.
      signature: the metric's, with the number of samples (bs) and the seed.
    """

    system: str
    metric: str
    score: float
    mean: float
    half_width: float | None
    p_value: float | None
    signature: str

    @property
    def interval(self) -> tuple[float, float]:
        """score ± half_width, as far as the metric goes: 0 to 100, TER above that too.

        Not about `mean`, which is lower where resamples without four words in a row score 0.
        """
        half = self.half_width or 0.0
        # sacrebleu rounds to 100.00000000000004.
        highest = math.inf if self.metric == "TER" else max(100.0, self.score)
        return max(self.score - half, 0.0), min(self.score + half, highest)


def paired_bootstrap(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    language: str,
    lowercase: bool = False,
    metrics: Sequence[str] = METRICS,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> tuple[Estimate, ...]:
    """sacrebleu's paired bootstrap of translations against those of the first system.

    In each sample as many sentences as there are, drawn with replacement, are scored for
    both systems, which gives differences δ_b beside the difference δ on all sentences:

        p = (1 + #{b : |δ_b| − mean |δ_b| > |δ|}) / (1 + samples)

    is how often a difference as large would come of the choice of sentences alone. Where all
    δ_b have the sign of δ it is one tail: the two-sided p is twice that. It says nothing of
    another seed of training. Where the formula would give its lowest value for no reason, p
    is 1: for the baseline's own score, and for one sentence.

    The samples come from `np.random.default_rng(seed)`, whatever SACREBLEU_SEED says. One
    system alone gets its intervals.

    Args:
      systems: translations by name; the first one is the baseline.
      references: of the sentences.
      language, lowercase: as `bleu` takes them.
      metrics: some of METRICS.
      samples: how many; memory is 76 bytes × samples × sentences.
      seed: at least 1.

    Returns:
      one estimate for each system and metric, system by system.

    Raises:
      ValueError: no system, not as many translations as references, an unknown metric, no
        samples, or a seed below 1.

    Koehn, 2004, aclanthology.org/W04-3250; Post, 2018, aclanthology.org/W18-6319.
    """
    from sacrebleu.significance import PairedTest

    if not systems:
        raise ValueError("systems is empty: there is nothing to test")
    for hypotheses in systems.values():
        check_texts(hypotheses, references)
    if not {*metrics} <= {*METRICS}:
        raise ValueError(f"metrics must be some of {METRICS}, got {metrics!r}")
    # sacrebleu takes a seed of 0 for "no seed".
    if min(samples, seed) < 1:
        raise ValueError(f"samples and seed must be at least 1, got {samples}, {seed}")
    known = sacrebleu_metrics(language=language, lowercase=lowercase)
    # sacrebleu takes its seed from the environment, while a test is set up, alone.
    with mock.patch.dict(os.environ, SACREBLEU_SEED=str(seed)):
        test = PairedTest(
            [(name, list(texts)) for name, texts in systems.items()],
            {name: known[name] for name in metrics},
            [list(references)],
            test_type="bs",
            n_samples=samples,
        )
    signatures, scores = test()
    one_sentence = len(references) == 1
    estimates = []
    for (number, system), metric in itertools.product(enumerate(systems), metrics):
        found, baseline = cast(Any, scores[metric][number]), scores[metric][0]
        p_value = found.p_value
        if p_value is not None:
            same = one_sentence or found.score == cast(Any, baseline).score
            p_value = 1.0 if same else float(p_value)
        half_width = None if one_sentence else float(found.ci)
        figures = float(found.score), float(found.mean), half_width, p_value
        signature = str(signatures[metric])
        estimates.append(Estimate(system, metric, *figures, signature))
    return tuple(estimates)


class LengthBin(NamedTuple):
    """The sentences whose sources have `shortest` to `longest` tokens; each system's BLEU."""

    shortest: int
    longest: int
    mean_length: float
    sentences: int
    bleu: tuple[Estimate, ...]

    @property
    def name(self) -> str:
        """`4–6`, or `4`."""
        return "–".join(map(str, sorted({self.shortest, self.longest})))


def equal_count_edges(lengths: Sequence[int], number: int) -> tuple[int, ...]:
    """The longest length of each but the last of `number` bins of about as many sentences.

    Sentences of one length stay together, so that there may be fewer bins.

    Raises:
      ValueError: no lengths, or `number` below 1.
    """
    if not lengths or number < 1:
        raise ValueError(
            f"lengths must not be empty and number at least 1, got {len(lengths)} "
            f"lengths and number {number}"
        )
    # More bins than sentences have the edges of a bin for each.
    number = min(number, len(lengths))
    shares = np.arange(1, number) / number
    edges = np.quantile(lengths, shares, method="inverted_cdf")
    return tuple(sorted({*edges.astype(int).tolist()} - {max(lengths)}))


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
    for name, each in (("lengths", lengths), *systems.items()):
        if len(each) != len(references):
            raise ValueError(
                f"{name} must be {len(references)}, one a reference, got {len(each)}"
            )
    if any(a >= b for a, b in itertools.pairwise(edges)):
        raise ValueError(f"edges must increase, got {', '.join(map(str, edges))}")
    options: dict[str, Any] = {"language": language, "lowercase": lowercase}
    options |= {"metrics": ("BLEU",), "samples": samples, "seed": seed}
    places = np.searchsorted(np.asarray(edges, int), lengths)
    bins = []
    for place in np.unique(places):
        indices = np.flatnonzero(places == place).tolist()
        own = [lengths[index] for index in indices]
        chosen = [references[index] for index in indices]
        # Each system by itself: nothing is tested against a baseline here.
        bleu = tuple(
            paired_bootstrap({name: [texts[i] for i in indices]}, chosen, **options)[0]
            for name, texts in systems.items()
        )
        mean = statistics.fmean(own)
        bins.append(LengthBin(min(own), max(own), mean, len(own), bleu))
    return tuple(bins)
