"""Whether attention looks where the word comes from, when that is known."""

import dataclasses
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class AlignedPhrase(NamedTuple):
    """An exactly translated phrase: what was attended to, and what should have been.

    Attributes:
      weights: row t is the attention that word t was predicted with; [T, S].
      links: the (source index, target index) pairs of words that belong together.
      target_tokens: the T target words.
    """

    weights: Float[np.ndarray, "T S"]
    links: AbstractSet[tuple[int, int]]
    target_tokens: Sequence[str]


@dataclasses.dataclass(frozen=True)
class ArgmaxAccuracy:
    """How often the brightest source word is a linked one.

    Attributes:
      hits: the target words of which it is.
      words: the target words that have a link.
      chance: the expected share of hits if each word looked at one source word at random.
    """

    hits: int
    words: int
    chance: float

    @property
    def share(self) -> float | None:
        """hits / words, from 0 to 1; None if there are no words."""
        return self.hits / self.words if self.words else None


@dataclasses.dataclass(frozen=True)
class AlignmentAccuracy:
    """The accuracy over some phrases.

    Attributes:
      phrases: how many.
      all_words: of every linked target word.
      words_without_digits: of those that hold no digit. A number is often found by its
        own look; a name or unit has to be learnt.
    """

    phrases: int
    all_words: ArgmaxAccuracy
    words_without_digits: ArgmaxAccuracy


def alignment_accuracy(phrases: Iterable[AlignedPhrase]) -> AlignmentAccuracy:
    """Over target words that have links, how often argmax_s a_t(s) is linked to t.

    Meant for exactly translated phrases: after a wrong word there is no right place to
    look. A word of which all weights are 0 looks nowhere, a miss; where several source
    words are equally bright, all must be linked. So neither an absent nor a uniform
    distribution scores by the order of the words.

    Raises:
      ValueError: weights that do not match the words, or links outside them.
    """
    number = 0
    rows: list[tuple[bool, float, bool]] = []
    for number, phrase in enumerate(phrases, 1):
        rows += _linked_rows(phrase, f"phrase {number}: ")
    without_digits = [row for row in rows if not row[2]]
    return AlignmentAccuracy(number, _accuracy(rows), _accuracy(without_digits))


def _linked_rows(phrase: AlignedPhrase, name: str) -> list[tuple[bool, float, bool]]:
    """For each linked target word: a hit?, the chance of one, does it hold a digit?"""
    weights, links, target = phrase
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[0] != len(target):
        raise ValueError(
            f"{name}weights must be [{len(target)}, S] for {len(target)} target words, "
            f"got shape {weights.shape}"
        )
    linked = np.zeros(weights.shape, bool)
    for s, t in links:
        if not (0 <= t < weights.shape[0] and 0 <= s < weights.shape[1]):
            raise ValueError(
                f"{name}link ({s}, {t}) lies outside {weights.shape[1]} source and "
                f"{weights.shape[0]} target words"
            )
        linked[t, s] = True
    rows = []
    for word, row, here in zip(target, weights, linked, strict=True):
        if here.any():
            brightest = row == row.max()
            hit = row.max() > 0 and bool(here[brightest].all())
            digit = any(character.isdigit() for character in word)
            rows.append((bool(hit), float(here.mean()), digit))
    return rows


def _accuracy(rows: Sequence[tuple[bool, float, bool]]) -> ArgmaxAccuracy:
    hits = sum(hit for hit, _, _ in rows)
    chance = sum(chance for _, chance, _ in rows) / len(rows) if rows else 0.0
    return ArgmaxAccuracy(hits, len(rows), chance)
