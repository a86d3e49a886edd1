"""Where the parts of a figure go: equal square cells, nothing cut, nothing overlapping.

Matplotlib's own layouts scale the panels to fit a figure of given size. Here the size of a
cell is given, and the figure becomes as large as the cells and the words around them need.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Inches: a cell, and the longest side of a panel, which shrinks the cells of long sentences.
CELL = 0.34
_LONGEST = 24.0
_GAP = 0.22
_EDGE = 0.1
_BAR_WIDTH = 0.13
_BAR_HEIGHT = (1.3, 4.5)


class _Box(NamedTuple):
    """A panel in inches: its cells, and what stands out on each side of them."""

    width: float
    height: float
    left: float
    right: float
    above: float
    below: float


def cell_size(shapes: Sequence[tuple[int, ...]]) -> float:
    """Inches of a cell's side, so that no panel of these [T, S] is unduly long."""
    return min(CELL, _LONGEST / max(max(shape) for shape in shapes))


def arrange(
    figure: "Figure",
    panels: Sequence["Axes"],
    bar: "Axes",
    head: "Text",
    note: "Text",
    *,
    cell: float,
    columns: int,
) -> None:
    """Sets the size of `figure` and the place of everything in it.

    The panels go row by row into a grid of at most `columns`, the colour bar to their
    right, `head` above and `note` below. Each panel already holds its image and its words.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    boxes = [_measure(figure, panel, cell) for panel in panels]
    by_column = [boxes[c::columns] for c in range(columns)]
    by_row = [boxes[r * columns : (r + 1) * columns] for r in range(rows)]
    lefts = [max(box.left for box in column) for column in by_column]
    widths = [max(box.width + box.right for box in column) for column in by_column]
    aboves = [max(box.above for box in row) for row in by_row]
    heights = [max(box.height + box.below for box in row) for row in by_row]

    grid_width = sum(lefts) + sum(widths) + _GAP * (columns - 1)
    grid_height = sum(aboves) + sum(heights) + _GAP * (rows - 1)
    # The bar spans the cells of the grid as far as its own limits allow.
    span = grid_height - aboves[0]
    bar_height = min(max(span, _BAR_HEIGHT[0]), _BAR_HEIGHT[1])
    bar_box = _measure_bar(figure, bar, bar_height)
    note_width, note_height = _measure_text(figure, note)
    head_width, head_height = _measure_text(figure, head)
    top = _EDGE + (head_height + _GAP if head_height else 0.0)
    bottom = _EDGE + (note_height + _GAP / 2 if note_height else 0.0)
    grid_height = max(grid_height, aboves[0] + bar_height + bar_box.below)
    inner = grid_width + _GAP + _BAR_WIDTH + bar_box.right
    width = 2 * _EDGE + max(inner, note_width, head_width)
    height = top + grid_height + bottom
    figure.set_size_inches(width, height)

    def place(axes: "Axes", left: float, above: float, w: float, h: float) -> None:
        axes.set_position(
            (left / width, 1 - (above + h) / height, w / width, h / height)
        )

    start = (width - inner) / 2
    above = top
    for r in range(rows):
        above += aboves[r]
        left = start
        for c in range(len(by_row[r])):
            left += lefts[c]
            box = by_row[r][c]
            place(panels[r * columns + c], left, above, box.width, box.height)
            left += widths[c] + _GAP
        above += heights[r] + _GAP
    offset = top + aboves[0] + max(0.0, span - bar_height) / 2
    place(bar, start + grid_width + _GAP, offset, _BAR_WIDTH, bar_height)
    head.set(x=0.5, y=1 - _EDGE / height, ha="center", va="top")
    note.set(x=0.5, y=_EDGE / height, ha="center", va="bottom")


def _measure(figure: "Figure", axes: "Axes", cell: float) -> _Box:
    rows, columns = axes.images[0].get_size()
    return _measure_axes(figure, axes, columns * cell, rows * cell)


def _measure_bar(figure: "Figure", axes: "Axes", height: float) -> _Box:
    return _measure_axes(figure, axes, _BAR_WIDTH, height)


def _measure_axes(figure: "Figure", axes: "Axes", width: float, height: float) -> _Box:
    """The box of axes of this size, drawn once on a figure that fits them."""
    from matplotlib.backends import backend_agg

    figure.set_size_inches(width, height)
    axes.set_position((0, 0, 1, 1))
    renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
    bounds = axes.get_tightbbox(renderer)
    assert bounds is not None
    return _Box(
        width=width,
        height=height,
        left=max(0.0, -bounds.x0 / figure.dpi),
        right=max(0.0, bounds.x1 / figure.dpi - width),
        above=max(0.0, bounds.y1 / figure.dpi - height),
        below=max(0.0, -bounds.y0 / figure.dpi),
    )


def _measure_text(figure: "Figure", text: "Text") -> tuple[float, float]:
    from matplotlib.backends import backend_agg

    if not text.get_text():
        return 0.0, 0.0
    renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
    bounds = text.get_window_extent(renderer)
    return bounds.width / figure.dpi, bounds.height / figure.dpi
