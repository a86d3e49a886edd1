"""What to show of an evaluation: some translations, and reordered phrases drawn."""

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from attention_jax.data.pairs import Link, Pair
from attention_jax.evaluation.alignment import gold_links
from attention_jax.evaluation.evaluate import Evaluation, is_exact
from attention_jax.evaluation.plots import Panel, plot_weights_grid
from attention_jax.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Words; longer sentences make a picture that is too large beside another.
_MAX_DRAWN = 16


class Candidate(NamedTuple):
    """A phrase that could be shown: its number, its links and its source words."""

    index: int
    links: Collection[Link]
    source_tokens: Sequence[str]


def crossings(links: Collection[Link]) -> int:
    """How much a translation reorders: the pairs of links that cross.

    Two links cross when one's source stretch lies before the other's and its target
    stretch behind. Cost: quadratic in the links.
    """
    return sum(
        one.source_end <= other.source_start and one.target_start >= other.target_end
        for one in links
        for other in links
    )


def pick_examples(candidates: Sequence[Candidate], number: int) -> list[int]:
    """The indices of up to `number` phrases worth a picture.

    One after the other, the phrase with the most (links + crossings) × share of source
    words not in a phrase picked before, the first among equals. Numbers count as one word,
    so that two dates are alike.
    """
    left = [
        (candidate.index, len(candidate.links) + crossings(candidate.links), shapes)
        for candidate in candidates
        if (shapes := _shapes(candidate.source_tokens))
    ]
    seen: set[str] = set()
    picked = []
    while left and len(picked) < number:
        best = max(
            left, key=lambda entry: entry[1] * len(entry[2] - seen) / len(entry[2])
        )
        left.remove(best)
        picked.append(best[0])
        seen |= best[2]
    return picked


def translation_lines(
    run: Run, pairs: Sequence[Pair], evaluation: Evaluation, *, number: int
) -> list[str]:
    """The first `number` translations: source, hypothesis with ✓ or ✗, reference if ✗."""
    lines = []
    for pair, translation in list(zip(pairs, evaluation.translations, strict=True))[
        :number
    ]:
        right = is_exact(run, pair, translation)
        lines.append(f"  {pair.source}")
        lines.append(f"    {'✓' if right else '✗'} {translation.text}")
        if not right:
            lines.append(f"    = {pair.target}")
    return lines


def draw_examples(
    run: Run,
    pairs: Sequence[Pair],
    evaluation: Evaluation,
    *,
    number: int,
    path: str | os.PathLike[str],
) -> "Figure":
    """Draws the attention behind `number` exactly translated phrases, as `pick_examples`.

    Where no phrase is exactly translated, the first ones that have words are drawn as they
    were translated, without links.

    Raises:
      ValueError: no phrase was translated by any word.
    """
    translations = evaluation.translations
    drawable = [
        index
        for index, translation in enumerate(translations)
        if 0 < len(translation.target_tokens) <= _MAX_DRAWN
        and 0 < len(translation.source_tokens) <= _MAX_DRAWN
    ]
    exact = [i for i in drawable if is_exact(run, pairs[i], translations[i])]
    picked = pick_examples(
        [Candidate(i, pairs[i].links, translations[i].source_tokens) for i in exact],
        number,
    )
    panels = [
        Panel(
            translations[i].weights,
            translations[i].source_tokens,
            translations[i].target_tokens,
            links=gold_links(run, pairs[i]) if i in exact else frozenset(),
        )
        for i in picked or drawable[:number]
    ]
    if not panels:
        raise ValueError("no phrase short enough was translated by any word")
    return plot_weights_grid(panels, path=path)


def _shapes(tokens: Sequence[str]) -> set[str]:
    """The words in lower case, digits as 0, and punctuation left out."""
    folded = {
        "".join("0" if character.isdigit() else character for character in token)
        for token in map(str.lower, tokens)
    }
    return {token for token in folded if any(map(str.isalnum, token))}
