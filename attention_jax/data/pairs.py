"""A sentence pair, and the word alignment that comes with it."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.data.tokenization import Token


class Link(NamedTuple):
    """Two spans of text with the same meaning: character offsets, half open."""

    source_start: int
    source_end: int
    target_start: int
    target_end: int


@dataclasses.dataclass(frozen=True)
class Pair:
    """A source sentence and its translation.

    Attributes:
      source, target: the two texts, neither of them empty.
      links: the alignment where it is known by construction, else empty. A meaning in
        several spans ("in 3 days": "in" and "days") has a link for each combination.
      attribution: the authors, where the licence requires that.
    """

    source: str
    target: str
    links: tuple[Link, ...] = ()
    attribution: str = ""


def link_tokens(
    pair: Pair, source_tokens: Sequence[Token], target_tokens: Sequence[Token]
) -> set[tuple[int, int]]:
    """The (source index, target index) of every two tokens that a link connects.

    A link connects all tokens that share a character with its source span to all that
    share one with its target span.
    """

    def touched(tokens: Sequence[Token], start: int, end: int) -> list[int]:
        return [
            index
            for index, token in enumerate(tokens)
            if max(start, token.start) < min(end, token.end)
        ]

    return {
        (source, target)
        for link in pair.links
        for source in touched(source_tokens, link.source_start, link.source_end)
        for target in touched(target_tokens, link.target_start, link.target_end)
    }
