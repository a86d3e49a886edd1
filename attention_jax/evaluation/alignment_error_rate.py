"""How well links between words agree with those that people drew: AER."""

import dataclasses
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from attention_jax.evaluation.pharaoh import Alignment, Link


@dataclasses.dataclass(frozen=True)
class AlignmentErrorRate:
    """Counts over a corpus, and what follows from them.

    Attributes:
      pairs: sentence pairs.
      found: links found, |A|.
      sure: sure links, |S|.
      found_sure: |A ∩ S|.
      found_possible: |A ∩ P|.
      found_known: links found of target words that have a possible link. The others can
        only be wrong.
    """

    pairs: int
    found: int
    sure: int
    found_sure: int
    found_possible: int
    found_known: int

    @property
    def highest_precision(self) -> float | None:
        """found_known / |A|, what `precision` could be at most."""
        return self.found_known / self.found if self.found else None

    @property
    def precision(self) -> float | None:
        """|A ∩ P| / |A|; None if nothing was found."""
        return self.found_possible / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """|A ∩ S| / |S|; None if nothing is sure."""
        return self.found_sure / self.sure if self.sure else None

    @property
    def error_rate(self) -> float | None:
        """1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), 0 at best; None without any links."""
        total = self.found + self.sure
        return 1 - (self.found_sure + self.found_possible) / total if total else None

    def to_dict(self) -> dict[str, float | int | None]:
        """The counts and the rates."""
        names = ("error_rate", "precision", "recall", "highest_precision")
        rates = {name: getattr(self, name) for name in names}
        return {**dataclasses.asdict(self), **rates}


def alignment_error_rate(
    pairs: Iterable[tuple[AbstractSet[Link], Alignment]],
) -> AlignmentErrorRate:
    """Of a corpus: for each sentence pair the links found and the gold ones.

    Links are counted over the corpus, so that long sentences count for more. A sure link
    is a possible one too.

    Och & Ney, 2003, aclanthology.org/J03-1002.
    """
    counts = [0] * 6
    for found, gold in pairs:
        possible = gold.possible | gold.sure
        known = {t for _, t in possible}
        for place, number in enumerate(
            (
                1,
                len(found),
                len(gold.sure),
                len(found & gold.sure),
                len(found & possible),
                sum(t in known for _, t in found),
            )
        ):
            counts[place] += number
    return AlignmentErrorRate(*counts)
