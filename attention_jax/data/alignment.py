"""From linked characters to linked tokens."""

from collections.abc import Sequence

from attention_jax.data.pairs import Pair
from attention_jax.data.tokenization import Token


def link_tokens(
    pair: Pair, source_tokens: Sequence[Token], target_tokens: Sequence[Token]
) -> set[tuple[int, int]]:
    """The (source index, target index) of every two tokens that a link connects.

    A link connects all tokens that share a character with its source stretch to all that
    share one with its target stretch: a name of three words links to each character of
    the same name.

    Args:
      pair: the texts and their links.
      source_tokens, target_tokens: the tokens of `pair.source` and `pair.target`.
    """
    return {
        (source, target)
        for link in pair.links
        for source in _within(source_tokens, link.source_start, link.source_end)
        for target in _within(target_tokens, link.target_start, link.target_end)
    }


def _within(tokens: Sequence[Token], start: int, end: int) -> list[int]:
    return [
        index
        for index, token in enumerate(tokens)
        if max(start, token.start) < min(end, token.end)
    ]
