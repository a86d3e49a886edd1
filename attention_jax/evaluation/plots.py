"""Heat maps of attention weights: which source words each target word attends to."""

import io
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from attention_jax.atomic_write import check_writable, write_bytes
from attention_jax.errors import UserError
from attention_jax.evaluation import fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

FORMATS = (".png", ".pdf", ".svg")

# Points: the size of the words beside a cell of full size.
_POINTS = 10.5
# Inches: a cell, and the longest side of a panel, which shrinks the cells of long sentences.
_CELL, _LONGEST = 0.34, 24.0
# Inches: the room between panels, and at the edge of the figure.
_GAP = 0.15
# Inches: the colour bar's width, least and greatest height.
_BAR_WIDTH, _BAR_HEIGHT = 0.13, (1.3, 4.5)
# Characters. A word of thousands would make a picture of gigabytes.
_LONGEST_WORD, _LONGEST_TITLE = 48, 240


class Panel(NamedTuple):
    """One heat map among several, with the arguments of `plot_weights`."""

    weights: Float[ArrayLike, "T S"] | Sequence[Sequence[float]]
    source: Sequence[str]
    target: Sequence[str]
    title: str = ""
    # (source index, target index) of words known to belong together.
    links: AbstractSet[tuple[int, int]] = frozenset()


def plot_weights(
    weights: Float[ArrayLike, "T S"] | Sequence[Sequence[float]],
    source: Sequence[str],
    target: Sequence[str],
    *,
    title: str = "",
    links: AbstractSet[tuple[int, int]] = frozenset(),
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """A heat map of attention weights: source words along the top, target words at the side.

    Row t is the distribution a_t over the source words that target word t attends to. The
    colours run from 0 to 1 (further when weights do), so that figures compare. Characters
    that no installed font draws appear as their code points, and a note says so. Words of
    more than 48 characters, and titles of more than 240, lose their middle.

    Args:
      weights: any finite numbers; a NumPy or JAX array or nested lists.
      source: S words.
      target: T words.
      title: a line above.
      links: (source index, target index) pairs, outlined as the gold alignment.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Returns:
      the figure. It belongs to no window and to no pyplot state.

    Raises:
      ValueError: weights that are not T×S finite numbers, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    panel = Panel(weights, source, target, title, links)
    return plot_weights_grid([panel], columns=1, path=path)


def plot_weights_grid(
    panels: Iterable[Panel],
    *,
    columns: int = 2,
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """Several heat maps as `plot_weights` draws them, with one scale and one colour bar.

    Args:
      panels: drawn row by row; at least one.
      columns: panels side by side.
      path: as for `plot_weights`.

    Raises:
      ValueError, FileNotFoundError: as for `plot_weights`; the number of the panel is named.
    """
    import matplotlib
    from matplotlib.figure import Figure

    given = list(panels)
    if not given:
        raise ValueError("panels is empty: there is nothing to draw")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    name = "panels[{}]: " if len(given) > 1 else ""
    maps = [_checked(panel, name.format(i)) for i, panel in enumerate(given)]
    letters = fonts.lettering(
        text for panel in maps for text in (*panel.source, *panel.target, panel.title)
    )
    low = min(0.0, *(float(np.min(panel.weights)) for panel in maps))
    high = max(1.0, *(float(np.max(panel.weights)) for panel in maps))
    cell = min(_CELL, _LONGEST / max(max(np.shape(panel.weights)) for panel in maps))
    with matplotlib.rc_context(letters.rc(_POINTS)):
        # Of one inch, so that positions are inches until `_arrange` has measured the words.
        figure = Figure(figsize=(1, 1), dpi=150)
        axes = [_draw(figure, panel, letters, (low, high), cell) for panel in maps]
        bar = figure.add_axes((0, 0, _BAR_WIDTH, _BAR_HEIGHT[0]))
        label = "attention weight"
        colours = figure.colorbar(axes[0].images[0], cax=bar, label=label)
        colours.outline.set_visible(False)
        bar.yaxis.label.set_fontsize(_POINTS - 1)
        bar.tick_params(length=2, labelsize=_POINTS - 2)
        style = {"ha": "center", "fontsize": _POINTS - 3, "color": "0.35"}
        note = figure.text(0.5, 0, letters.note(), va="bottom", **style)
        _arrange(figure, axes, bar, note, min(columns, len(maps)))
        if path is not None:
            save_figure(figure, path)
    return figure


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises UserError unless the suffix is one of FORMATS, OSError as `check_writable`."""
    path = pathlib.Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"a figure is saved as one of {', '.join(FORMATS)}, got {str(path)!r}"
        )
    check_writable(path)


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Writes the figure in the format of the suffix, atomically and without a date."""
    check_path(path)
    path, data = pathlib.Path(path), io.BytesIO()
    kind = path.suffix[1:].lower()
    # Without dates equal figures make equal files.
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(data, format=kind, metadata=undated.get(kind))
    write_bytes(path, data.getvalue())


def _checked(panel: Panel, name: str) -> Panel:
    """The panel with float64 weights and lists of words that match them."""
    weights = np.asarray(panel.weights).astype(np.float64)
    if weights.ndim != 2 or not weights.size:
        raise ValueError(
            f"{name}weights must be [T, S] and not empty, got shape {weights.shape}"
        )
    if not np.isfinite(weights).all():
        bad = int(np.size(weights) - np.isfinite(weights).sum())
        raise ValueError(f"{name}weights holds {bad} values that are not finite")
    target, source = list(panel.target), list(panel.source)
    for side, words, number in (
        ("rows but target", target, weights.shape[0]),
        ("columns but source", source, weights.shape[1]),
    ):
        if len(words) != number:
            raise ValueError(
                f"{name}weights has {number} {side} has {len(words)} words"
            )
    for s, t in panel.links:
        if not (0 <= s < len(source) and 0 <= t < len(target)):
            raise ValueError(
                f"{name}links holds ({s}, {t}), outside {len(source)} source and "
                f"{len(target)} target words"
            )
    return Panel(weights, source, target, panel.title, panel.links)


def _draw(
    figure: "Figure",
    panel: Panel,
    letters: fonts.Lettering,
    limits: tuple[float, float],
    cell: float,
) -> "Axes":
    """The axes of a panel with square cells of `cell` inches."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    source, target = (
        [_shortened(letters.spell(word)) for word in side]
        for side in (panel.source, panel.target)
    )
    axes = figure.add_axes((0, 0, cell * len(source), cell * len(target)))
    low, high = limits
    axes.imshow(panel.weights, "viridis", aspect="auto", vmin=low, vmax=high)
    size = _POINTS * min(1.0, cell / _CELL)
    axes.tick_params(length=0, pad=4)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(source)), source, fontsize=size)
    # Words wider than their cell stand on a slope, so that neighbours do not touch.
    if max(map(_columns, source)) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(target)), target, fontsize=size)
    # Thin lines between the cells keep rows and columns apart.
    axes.set_xticks(np.arange(1, len(source)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(target)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6, alpha=0.35)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    cells = [Rectangle((s - 0.5, t - 0.5), 1, 1) for s, t in sorted(panel.links)]
    # White within black shows on every colour of the map.
    for colour, width in (("black", 2.6), ("white", 1.3)):
        style = {"edgecolor": colour, "linewidth": width * size / _POINTS}
        outline = PatchCollection(cells, facecolor="none", clip_on=False, **style)
        axes.add_collection(outline)
    title = _shortened(letters.spell(panel.title), _LONGEST_TITLE)
    axes.set_title(title, fontsize=_POINTS + 1, pad=9, loc="left")
    return axes


def _arrange(
    figure: "Figure",
    panels: Sequence["Axes"],
    bar: "Axes",
    note: "Text",
    columns: int,
) -> None:
    """Puts the panels into a grid and makes the figure as large as they need; in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()

    def room(axes: "Axes") -> np.ndarray:
        """Inches to the left, below, to the right and above the axes."""
        own = axes.get_window_extent(renderer)
        whole = axes.get_tightbbox(renderer) or own
        less, more = np.subtract(own.min, whole.min), np.subtract(whole.max, own.max)
        return np.concatenate([less, more]) / figure.dpi

    sizes = np.array([axes.get_position().size for axes in panels])
    around = np.array([room(axes) for axes in panels])
    left, top = around[:, 0].max(), around[:, 3].max()
    needed = sizes + around[:, [2, 1]] + (left + _GAP, top + _GAP)
    starts = range(0, len(panels), columns)
    widths = [needed[column::columns, 0].max() for column in range(columns)]
    heights = [needed[first : first + columns, 1].max() for first in starts]
    xs, ys = np.cumsum([_GAP, *widths]), np.cumsum([top, *heights])
    bar_height = np.clip(ys[-1] - top - _GAP, *_BAR_HEIGHT)
    noted = np.array(note.get_window_extent(renderer).size) / figure.dpi
    after_bar, under_bar = room(bar)[[2, 1]]
    width = max(xs[-1] + _BAR_WIDTH + after_bar, noted[0]) + _GAP
    upper = max(ys[-1], top + bar_height + under_bar) + noted[1] + _GAP
    height = upper + _GAP
    scale = np.array([width, height])
    figure.set_size_inches(width, height)
    for number, (axes, size) in enumerate(zip(panels, sizes, strict=True)):
        row, column = divmod(number, columns)
        corner = xs[column] + left, upper - ys[row] - size[1]
        axes.set_position((*(corner / scale), *(size / scale)))
    corner, size = (xs[-1], upper - top - bar_height), (_BAR_WIDTH, bar_height)
    bar.set_position((*(corner / scale), *(size / scale)))
    note.set_y(_GAP / height)


def _columns(text: str) -> int:
    """Columns of a terminal: two for a Chinese character, one for a letter."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _shortened(text: str, most: int = _LONGEST_WORD) -> str:
    """The text, or its two ends around "…" where it has more than `most` characters."""
    end = (most - 1) // 2
    return text if len(text) <= most else f"{text[:end]}…{text[-end:]}"
