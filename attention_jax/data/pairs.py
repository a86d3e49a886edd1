"""A sentence pair and the word alignment that comes with it."""

import dataclasses
from typing import NamedTuple


class Link(NamedTuple):
    """Two stretches of text that mean the same: character offsets, half open."""

    source_start: int
    source_end: int
    target_start: int
    target_end: int


@dataclasses.dataclass(frozen=True)
class Pair:
    """A source sentence and its translation.

    Attributes:
      source, target: the two texts, neither empty.
      links: the alignment where it is known by construction, else empty. A meaning in
        several stretches ("in 3 days": "in" and "days") has a link for each combination.
      attribution: who wrote them, where the licence asks for that.
    """

    source: str
    target: str
    links: tuple[Link, ...] = ()
    attribution: str = ""
