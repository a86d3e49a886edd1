"""A figure of BLEU against the length of the source, a line a system."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attention_jax.evaluation import fonts
from attention_jax.evaluation.learning_curves import line_style
from attention_jax.evaluation.plots import check_path, save_figure
from attention_jax.evaluation.significance import LengthBin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 9


def plot_length_curves(
    bins: Sequence[LengthBin],
    *,
    unit: str = "tokens",
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """BLEU in each bin at its mean length, with 95 % intervals, and the bin's sentences.

    Args:
      bins: of `bleu_by_length`; at least one.
      unit: what the lengths count.
      title: a line above.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Raises:
      ValueError: no bins, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    from matplotlib.figure import Figure

    if path is not None:
        check_path(path)
    if not bins:
        raise ValueError("bins is empty: there is nothing to draw")
    names = [estimate.system for estimate in bins[0].bleu]
    letters = fonts.lettering([*names, title, unit])
    words: dict[str, Any] = {"family": letters.families, "parse_math": False}
    figure = Figure(figsize=(7.2, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    positions = [found.mean_length for found in bins]
    for number, name in enumerate(names):
        style = line_style(number)
        found = [one.bleu[number] for one in bins]
        low, high = zip(*(estimate.interval for estimate in found), strict=True)
        axes.fill_between(
            positions, low, high, color=style["color"], alpha=0.15, linewidth=0
        )
        scores = [estimate.score for estimate in found]
        axes.plot(positions, scores, label=letters.spell(name), **style)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("BLEU, with 95 % intervals", fontsize=_POINTS, **words)
    label = f"source length, {letters.spell(unit)} (sentences); at the mean of each bin"
    axes.set_xlabel(label, fontsize=_POINTS, **words)
    axes.set_xticks(
        positions,
        [f"{found.name}\n({found.sentences:,})" for found in bins],
        fontsize=_POINTS - 1,
        family=letters.families,
    )
    axes.tick_params(axis="y", labelsize=_POINTS - 1, labelfontfamily=letters.families)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.7)
    legend = axes.legend(
        frameon=False, prop={"family": letters.families, "size": _POINTS - 1}
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    head = "\n".join(filter(None, (letters.spell(title), letters.note())))
    if head:
        axes.set_title(head, fontsize=_POINTS + 1, loc="left", **words)
    if path is not None:
        save_figure(figure, path)
    return figure
