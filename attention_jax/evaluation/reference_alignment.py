"""Links that attention makes in reference translations, measured against known ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attention_jax.data.pairs import Pair
from attention_jax.evaluation.alignment_error_rate import (
    AlignmentErrorRate,
    alignment_error_rate,
)
from attention_jax.evaluation.attention_links import attention_links
from attention_jax.evaluation.pharaoh import Alignment

if TYPE_CHECKING:
    from attention_jax.run import Run


def reference_alignment(
    run: "Run", pairs: Sequence[Pair], gold: Sequence[Alignment], *, shift: int = 0
) -> AlignmentErrorRate:
    """AER, precision and recall of attention's links while references are forced.

    Each target word is linked to the source word it most attends to. All pairs count,
    translated well or not, since the words are given.

    Args:
      run: has attention.
      pairs: whose targets are forced on the decoder.
      gold: the alignment of each, between the run's tokens.
      shift: as `attention_links` takes it.

    Raises:
      ValueError: not as many alignments as pairs.
      MisplacedLinkError: a link outside its pair.
    """
    check_links(run, pairs, gold)
    return alignment_error_rate(
        (attention_links(found.weights, found.end_weights, shift=shift), known)
        for found, known in zip(run.force(pairs), gold, strict=True)
    )


class MisplacedLinkError(ValueError):
    """A known link is between words that its pair does not have."""


def check_links(run: "Run", pairs: Sequence[Pair], gold: Sequence[Alignment]) -> None:
    """Raises what `reference_alignment` says unless every link is within its pair."""
    if len(gold) != len(pairs):
        raise ValueError(f"gold must be {len(pairs)}, one a pair, got {len(gold)}")
    for number, (pair, known) in enumerate(zip(pairs, gold, strict=True), 1):
        source = len(run.source_codec.tokens(pair.source))
        target = len(run.target_codec.tokens(pair.target))
        for s, t in sorted(known.sure | known.possible):
            if s >= source or t >= target:
                raise MisplacedLinkError(
                    f"line {number}: the link {s}-{t} is outside the pair's {source} "
                    f"source and {target} target tokens, counted from 0"
                )
