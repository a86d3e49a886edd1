"""Heat maps of attention weights: which source words each target word attends to."""

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
from attention_jax.errors import UserError
from attention_jax.evaluation import fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec
    from matplotlib.text import Text

FORMATS = (".png", ".pdf", ".svg")

# Points: the size of the words beside a cell of full size.
_POINTS = 10.5
# Inches: a cell, and the longest side of a panel, which shrinks the cells of long sentences.
_CELL, _LONGEST = 0.34, 24.0
# Inches: the colour bar's width, least and greatest height.
_BAR_WIDTH, _BAR_HEIGHT = 0.13, (1.3, 4.5)
# Inches that words and titles around a panel never exceed.
_ROOM = 9.0
# Terminal columns. A word of thousands would make a picture of gigabytes.
_LONGEST_WORD, _LONGEST_TITLE = 48, 240


class Panel(NamedTuple):
    """One heat map among several, with the arguments of `plot_weights`."""

    weights: Float[ArrayLike, "T S"] | Sequence[Sequence[float]]
    source: Sequence[str] | str
    target: Sequence[str] | str
    title: str = ""
    # (source index, target index) of words known to belong together.
    links: AbstractSet[tuple[int, int]] = frozenset()


def plot_weights(
    weights: Float[ArrayLike, "T S"] | Sequence[Sequence[float]],
    source: Sequence[str] | str,
    target: Sequence[str] | str,
    *,
    title: str = "",
    links: AbstractSet[tuple[int, int]] = frozenset(),
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """A heat map of attention weights: source words along the top, target words at the side.

    Row t is the distribution a_t over the source words that target word t attends to. The
    colours run from 0 to 1 (further when weights do), so that figures compare. Characters
    that no installed font draws appear as their code points, and a note says so. Words of
    more than 48 columns of a terminal, and titles of more than 240, lose their middle.

    Args:
      weights: any finite numbers; a NumPy or JAX array or nested lists.
      source: S words; a string stands for its words, or its characters if S is their number.
      target: T words; likewise.
      title: a line above.
      links: (source index, target index) pairs, outlined as the gold alignment.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Returns:
      the figure. It belongs to no window and to no pyplot state.

    Raises:
      ValueError: weights that are not T×S finite numbers, an unknown file format.
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
    """Several heat maps as `plot_weights` draws them, with one scale and one colour bar.

    Args:
      panels: drawn row by row; at least one. A tuple of a Panel's fields will do.
      columns: panels side by side.
      title: a line above all.
      path: as for `plot_weights`.

    Raises:
      ValueError, FileNotFoundError: as for `plot_weights`; the number of the panel is named.
    """
    import matplotlib
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
    low = min(0.0, *(float(np.min(panel.weights)) for panel in maps))
    high = max(1.0, *(float(np.max(panel.weights)) for panel in maps))
    cell = min(_CELL, _LONGEST / max(max(np.shape(panel.weights)) for panel in maps))
    with matplotlib.rc_context(letters.rc(_POINTS)):
        figure = Figure(dpi=150)
        shapes = [np.shape(panel.weights) for panel in maps]
        grid = _grid(figure, shapes, min(columns, len(maps)))
        places = [divmod(i, grid.ncols) for i in range(len(maps))]
        axes = [figure.add_subplot(grid[place]) for place in places]
        titles = [
            _draw(one, panel, letters, (low, high), cell)
            for panel, one in zip(maps, axes, strict=True)
        ]
        bar = figure.colorbar(
            axes[0].images[0],
            ax=axes,
            label="attention weight",
            fraction=0.01,
            pad=0.01,
        )
        bar.outline.set_visible(False)
        bar.ax.set_box_aspect(None)
        bar.ax.yaxis.label.set_fontsize(_POINTS - 1)
        bar.ax.tick_params(length=2, labelsize=_POINTS - 2)
        head = _shortened(letters.spell(title), _LONGEST_TITLE)
        figure.suptitle(head, fontsize=_POINTS + 2.5)
        figure.supxlabel(letters.note(), fontsize=_POINTS - 3, color="0.35")
        _arrange(figure, grid, axes, titles, bar.ax, cell)
        if path is not None:
            save_figure(figure, path)
    return figure


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises unless `path` is a figure file that could be written here.

    Raises:
      UserError: the suffix is none of FORMATS.
      OSError: as `check_writable`.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"a figure is saved as one of {', '.join(FORMATS)}, got {str(path)!r}"
        )
    check_writable(path)


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Writes the figure in the format of the suffix, atomically and without a date.

    Raises:
      OSError: it cannot be written; names the file and the reason.
    """
    path, data = pathlib.Path(path), io.BytesIO()
    kind = path.suffix[1:].lower()
    # Without dates equal figures make equal files.
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(data, format=kind, metadata=undated.get(kind))
    write_bytes(path, data.getvalue())


def _checked(panel: Panel, name: str) -> Panel:
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
            if len(words) != wanted and len("".join(words)) == wanted:
                words = list("".join(words))
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
    return Panel(weights, source, target, panel.title, panel.links)


def _grid(
    figure: "Figure", shapes: Sequence[tuple[int, ...]], columns: int
) -> "GridSpec":
    """A grid for panels of these [T, S], row by row, columns as wide as their widest."""
    starts = range(0, len(shapes), columns)
    return figure.add_gridspec(
        len(starts),
        columns,
        width_ratios=[max(s for _, s in shapes[c::columns]) for c in range(columns)],
        height_ratios=[max(t for t, _ in shapes[r : r + columns]) for r in starts],
    )


def _draw(
    axes: "Axes",
    panel: Panel,
    letters: fonts.Lettering,
    limits: tuple[float, float],
    cell: float,
) -> "Text":
    """Draws a panel; returns its title."""
    from matplotlib import collections

    low, high = limits
    # `_arrange` makes the cells square.
    axes.imshow(
        panel.weights,
        cmap="viridis",
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation="nearest",
    )
    size = _POINTS * min(1.0, cell / _CELL)
    source = [_shortened(letters.spell(word)) for word in panel.source]
    target = [_shortened(letters.spell(word)) for word in panel.target]
    axes.tick_params(
        length=0, pad=4, top=True, bottom=False, labeltop=True, labelbottom=False
    )
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
    title = _shortened(letters.spell(panel.title), _LONGEST_TITLE)
    return axes.set_title(title, fontsize=_POINTS + 1, pad=9, loc="left")


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


def _arrange(
    figure: "Figure",
    grid: "GridSpec",
    panels: Sequence["Axes"],
    titles: Sequence["Text"],
    bar: "Axes",
    cell: float,
) -> None:
    """Makes the figure as large as square cells of `cell` inches and the words need.

    Matplotlib's constrained layout finds the room for the words, which does not depend on
    the figure's size. The panels then get exactly their own size within their column.
    """
    from matplotlib.backends import backend_agg
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    widths = cell * np.array(grid.get_width_ratios(), float)
    heights = cell * np.array(grid.get_height_ratios(), float)
    heights[-1] += max(0.0, _BAR_HEIGHT[0] - heights.sum())
    renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
    for number, title in enumerate(titles):
        needed = title.get_window_extent(renderer).width / figure.dpi
        column = number % len(widths)
        widths[column] = max(widths[column], needed)
    grid.set_width_ratios(widths)
    grid.set_height_ratios(heights)
    engine = ConstrainedLayoutEngine()

    def lay_out(width: float, height: float) -> np.ndarray:
        """Sets the figure's size; returns the inches that are not the grid's."""
        figure.set_size_inches(width, height)
        engine.execute(figure)
        share = panels[0].get_position().bounds[2:]
        own = np.array([width, height]) * share
        of_first = np.array([widths[0] / widths.sum(), heights[0] / heights.sum()])
        return np.array([width, height]) - own / of_first

    room = lay_out(
        widths.sum() + _ROOM * len(widths), heights.sum() + _ROOM * len(heights)
    )
    texts = [t.get_window_extent(renderer).width / figure.dpi for t in figure.texts]
    missing = max(texts, default=0.0) + 0.2 - (widths.sum() + room[0])
    if missing > 0:
        widths[-1] += missing
        grid.set_width_ratios(widths)
    size = room + [widths.sum(), heights.sum()]
    lay_out(*size)
    for axes in panels:
        box, own = axes.get_position(), axes.images[0].get_size()
        width, height = cell * own[1] / size[0], cell * own[0] / size[1]
        axes.set_position((box.x0, box.y1 - height, width, height))
    box = bar.get_position()
    height = min(heights.sum(), _BAR_HEIGHT[1]) / size[1]
    bar.set_position((box.x0, box.y1 - height, _BAR_WIDTH / size[0], height))


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
