"""Examples of an evaluation: translations as text, reordered sentences as a figure."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attention_jax.data.pairs import Pair
from attention_jax.evaluation.alignment import gold_links
from attention_jax.evaluation.evaluate import Evaluation, is_exact
from attention_jax.evaluation.plots import Panel, plot_weights_grid
from attention_jax.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Words; longer sentences make a picture that is too large beside another.
_MAX_DRAWN = 16


def translation_lines(
    run: Run, pairs: Sequence[Pair], evaluation: Evaluation, *, number: int
) -> list[str]:
    """The first `number` translations: source, hypothesis with ✓ or ✗, reference if ✗."""
    lines = []
    found = list(zip(pairs, evaluation.translations, strict=True))
    for pair, translation in found[:number]:
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
    """A figure of the attention behind `number` exactly translated, reordered sentences.

    One after the other, the sentence with the most links of crossing order × share of
    source words not in a sentence picked before. Where none is exactly translated, the
    first ones that have words are drawn as they were translated, without links.

    Raises:
      ValueError: no sentence was translated by any word.
    """
    translations = evaluation.translations
    drawable = [
        index
        for index, found in enumerate(translations)
        if 0 < len(found.target_tokens) <= _MAX_DRAWN
        and 0 < len(found.source_tokens) <= _MAX_DRAWN
    ]
    if not drawable:
        raise ValueError("no sentence short enough was translated by any word")
    exact = [i for i in drawable if is_exact(run, pairs[i], translations[i])]
    links = {index: gold_links(run, pairs[index]) for index in exact}
    words = {index: _folded(translations[index].source_tokens) for index in exact}
    seen: set[str] = set()

    def interest(index: int) -> float:
        crossing = sum(
            s < o and t > u for s, t in links[index] for o, u in links[index]
        )
        return (1 + crossing) * len(words[index] - seen) / max(len(words[index]), 1)

    picked: list[int] = []
    while len(picked) < min(number, len(exact)):
        picked.append(max((i for i in exact if i not in picked), key=interest))
        seen |= words[picked[-1]]
    panels = [
        Panel(
            translations[i].weights,
            translations[i].source_tokens,
            translations[i].target_tokens,
            links=frozenset(links.get(i, ())),
        )
        for i in picked or drawable[:number]
    ]
    return plot_weights_grid(panels, path=path)


def _folded(tokens: Sequence[str]) -> set[str]:
    """The words in lower case, digits as 0, and punctuation left out."""
    folded = {"".join("0" if c.isdigit() else c for c in t.lower()) for t in tokens}
    return {token for token in folded if any(map(str.isalnum, token))}
