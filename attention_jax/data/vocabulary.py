"""Tokens and their ids."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence

PAD, BOS, EOS, UNK = range(4)
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens, whose ids are their indices; the first four are `SPECIAL_TOKENS`.

    A text's token never becomes PAD, BOS or EOS, even if it is spelt like one.
    """

    tokens: tuple[str, ...]

    def __post_init__(self):
        if self.tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
            raise ValueError(
                f"tokens must begin with {SPECIAL_TOKENS}, got {self.tokens[:4]}"
            )

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        first = len(SPECIAL_TOKENS)
        return {token: first + i for i, token in enumerate(self.tokens[first:])}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Each token's id, UNK for one that is not in the vocabulary."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Each id's token."""
        return [self.tokens[number] for number in ids]


def build_vocabulary(
    token_lists: Iterable[Sequence[str]], *, min_frequency: int = 1, max_size: int = 0
) -> Vocabulary:
    """The vocabulary of some texts' tokens, the most frequent first, equals in order.

    Tokens that occur less often than `min_frequency` are left out. `max_size` is the most
    tokens besides the four special ones; 0 keeps all.
    """
    counts = collections.Counter(token for tokens in token_lists for token in tokens)
    for special in SPECIAL_TOKENS:
        counts.pop(special, None)
    kept = [token for token, count in counts.items() if count >= min_frequency]
    kept.sort(key=lambda token: (-counts[token], token))
    return Vocabulary(SPECIAL_TOKENS + tuple(kept[: max_size or None]))
