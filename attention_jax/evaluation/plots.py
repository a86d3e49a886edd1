"""Pictures of attention weights: which source words each target word looked at."""

import io
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from attention_jax.atomic_write import check_writable, write_bytes
from attention_jax.evaluation import figure_layout, fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


# Points: the size of the words in a cell of full size.
_POINTS = 10.5
# Columns of a terminal. A word of thousands would make a picture of gigabytes.
_LONGEST_WORD = 48
_LONGEST_TITLE = 240


class Panel(NamedTuple):
    """What `plot_weights` takes, as one picture among several."""

    weights: Float[ArrayLike, "T S"] | Sequence[Sequence[float]]
    source: Sequence[str] | str
    target: Sequence[str] | str
    title: str = ""
    # (source index, target index) of words known to belong together.
    links: AbstractSet[tuple[int, int]] = frozenset()


class _Heatmap(NamedTuple):
    """A Panel that has been checked: T rows, S columns."""

    weights: Float[np.ndarray, "T S"]
    source: list[str]
    target: list[str]
    title: str
    links: AbstractSet[tuple[int, int]]


def plot_weights(
    weights: Float[ArrayLike, "T S"] | Sequence[Sequence[float]],
    source: Sequence[str] | str,
    target: Sequence[str] | str,
    *,
    title: str = "",
    links: AbstractSet[tuple[int, int]] = frozenset(),
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """A heat map: source words along the top, target words down the side.

    Row t is the distribution a_t over the source words that target word t looked at. The
    colours run from 0 to 1 (further when weights do), so that figures compare. Characters
    that no installed font draws appear as their code points, and a note says so. Words of
    more than 48 columns of a terminal, and titles of more than 240, lose their middle.

    Args:
      weights: any finite numbers; a NumPy or JAX array or nested lists.
      source: S words; a string stands for its words, or its characters if S is their number.
      target: T words; likewise.
      title: a line above.
      links: (source index, target index) pairs, outlined as the known alignment.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Returns:
      the figure. It belongs to no window and to no pyplot state.

    Raises:
      ValueError: weights that are no T×S finite numbers, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    return plot_weights_grid(
        [Panel(weights, source, target, title, links)], columns=1, path=path
    )


def plot_weights_grid(
    panels: Iterable[Panel | tuple[Any, ...]],
    *,
    columns: int = 2,
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """Several heat maps as `plot_weights` draws them, sharing one scale and colour bar.

    Args:
      panels: drawn row by row; at least one. A tuple of a Panel's fields will do.
      columns: panels side by side.
      title: a line above all.
      path: as for `plot_weights`.

    Raises:
      ValueError, FileNotFoundError: as for `plot_weights`; the number of the panel is named.
    """
    from matplotlib.figure import Figure

    if path is not None:
        check_path(path)
    given = [p if isinstance(p, Panel) else Panel(*p) for p in panels]
    if not given:
        raise ValueError("panels is empty: there is nothing to draw")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    name = "panels[{}]: " if len(given) > 1 else ""
    maps = [_checked(panel, name.format(i)) for i, panel in enumerate(given)]

    letters = fonts.lettering(
        text
        for panel in maps
        for text in (*panel.source, *panel.target, panel.title, title)
    )
    style = {"family": letters.families, "parse_math": False}
    low = min(0.0, *(float(np.min(panel.weights)) for panel in maps))
    high = max(1.0, *(float(np.max(panel.weights)) for panel in maps))
    cell = figure_layout.cell_size([panel.weights.shape for panel in maps])
    figure = Figure(dpi=150)
    axes = [figure.add_axes((0, 0, 1, 1)) for _ in maps]
    for panel, one in zip(maps, axes, strict=True):
        _draw(one, panel, letters, low, high, cell)
    bar = figure.add_axes((0, 0, 1, 1))
    _colour_bar(figure, axes[0].images[0], bar, letters)
    head = _shortened(letters.spell(title), _LONGEST_TITLE)
    head = figure.text(0, 0, head, fontsize=_POINTS + 2.5, **style)
    note = figure.text(
        0, 0, letters.note(), fontsize=_POINTS - 3, color="0.35", **style
    )
    figure_layout.arrange(figure, axes, bar, head, note, cell=cell, columns=columns)
    if path is not None:
        # Without dates the same weights make the same file.
        undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
        metadata = undated.get(pathlib.Path(path).suffix.lower())
        save_figure(figure, path, metadata=metadata)
    return figure


def _checked(panel: Panel, name: str) -> _Heatmap:
    """The panel with float64 weights and lists of words that match them."""
    weights = np.asarray(panel.weights)
    if weights.ndim != 2:
        raise ValueError(f"{name}weights must be [T, S], got shape {weights.shape}")
    if weights.size == 0:
        raise ValueError(f"{name}weights is empty, got shape {weights.shape}")
    weights = weights.astype(np.float64)
    if not np.isfinite(weights).all():
        bad = int(np.size(weights) - np.isfinite(weights).sum())
        raise ValueError(f"{name}weights holds {bad} values that are not finite")
    sides = []
    for argument, axis in (("target", 0), ("source", 1)):
        given, wanted = getattr(panel, argument), weights.shape[axis]
        words = list(given)
        if isinstance(given, str):
            # The two readings agree in number only where they are the same.
            words = given.split()
            if len(words) != wanted:
                letters = list("".join(words))
                words = letters if len(letters) == wanted else words
        if len(words) != wanted:
            raise ValueError(
                f"{name}weights has {wanted} {('rows', 'columns')[axis]} but {argument} "
                f"has {len(words)} words"
            )
        sides.append(words)
    target, source = sides
    for s, t in panel.links:
        if not (0 <= s < len(source) and 0 <= t < len(target)):
            raise ValueError(
                f"{name}links holds ({s}, {t}), outside {len(source)} source and "
                f"{len(target)} target words"
            )
    return _Heatmap(weights, source, target, panel.title, panel.links)


def _draw(
    axes: "Axes",
    panel: _Heatmap,
    letters: fonts.Lettering,
    low: float,
    high: float,
    cell: float,
) -> None:
    from matplotlib import collections

    axes.imshow(
        panel.weights,
        cmap="viridis",
        vmin=low,
        vmax=high,
        # The layout makes the cells square.
        aspect="auto",
        interpolation="nearest",
    )
    size = _POINTS * min(1.0, cell / figure_layout.CELL)
    style = {"family": letters.families, "parse_math": False, "fontsize": size}
    source = [_shortened(letters.spell(word)) for word in panel.source]
    target = [_shortened(letters.spell(word)) for word in panel.target]
    # Words wider than their cell stand on a slope, so that neighbours do not touch.
    sloping = max(map(_columns, source)) > 3
    axes.tick_params(
        length=0, pad=4, top=True, bottom=False, labeltop=True, labelbottom=False
    )
    axes.set_xticks(range(len(source)), source, **style)
    if sloping:
        # Only now, with their side chosen: the labels are those of the top.
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(target)), target, **style)
    # Thin lines between the cells keep rows and columns apart.
    axes.set_xticks(np.arange(1, len(source)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(target)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6, alpha=0.35)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    outlines = _outlines(panel.links)
    # White within black shows on every colour of the map.
    for colour, width in (("black", 2.6), ("white", 1.3)):
        axes.add_collection(
            collections.LineCollection(
                outlines,
                colors=colour,
                linewidths=width * size / _POINTS,
                capstyle="projecting",
                clip_on=False,
            )
        )
    if panel.title:
        title = _shortened(letters.spell(panel.title), _LONGEST_TITLE)
        axes.set_title(
            title,
            fontsize=_POINTS + 1,
            pad=9,
            family=letters.families,
            parse_math=False,
        )


def _outlines(links: AbstractSet[tuple[int, int]]) -> list[list[tuple[float, float]]]:
    """The borders between linked and other cells, each cell's side a line."""
    lines = []
    for s, t in sorted(links):
        left, right, top, bottom = s - 0.5, s + 0.5, t - 0.5, t + 0.5
        for neighbour, line in (
            ((s - 1, t), [(left, top), (left, bottom)]),
            ((s + 1, t), [(right, top), (right, bottom)]),
            ((s, t - 1), [(left, top), (right, top)]),
            ((s, t + 1), [(left, bottom), (right, bottom)]),
        ):
            if neighbour not in links:
                lines.append(line)
    return lines


def _colour_bar(
    figure: "Figure", image: "AxesImage", axes: "Axes", letters: fonts.Lettering
) -> None:
    bar = figure.colorbar(image, cax=axes, label="attention weight")
    bar.outline.set_visible(False)
    axes.yaxis.label.set(family=letters.families, fontsize=_POINTS - 1)
    axes.tick_params(length=2, labelsize=_POINTS - 2, labelfontfamily=letters.families)


def _columns(text: str) -> int:
    """Columns of a terminal: two for a Chinese character, one for a letter."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _shortened(text: str, most: int = _LONGEST_WORD) -> str:
    """The text, or its two ends around "…" where it has more than `most` columns."""
    if _columns(text) <= most:
        return text
    ends = []
    for characters in (text, reversed(text)):
        room, end = (most - 1) // 2, ""
        for character in characters:
            room -= _columns(character)
            if room < 0:
                break
            end += character
        ends.append(end)
    return f"{ends[0]}…{ends[1][::-1]}"


FORMATS = (".png", ".pdf", ".svg")


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises unless `path` is a figure file that could be written here.

    Raises:
      ValueError: the suffix is none of FORMATS.
      OSError: as `check_writable`.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"a figure is saved as one of {', '.join(FORMATS)}, got {str(path)!r}"
        )
    check_writable(path)


def save_figure(
    figure: "Figure",
    path: str | os.PathLike[str],
    *,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Writes the figure in the format that the suffix names, replacing a file in one step.

    Raises:
      OSError: it cannot be written; names the file and the reason.
    """
    path, data = pathlib.Path(path), io.BytesIO()
    figure.savefig(data, format=path.suffix[1:].lower(), metadata=metadata)
    write_bytes(path, data.getvalue())
