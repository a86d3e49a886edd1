"""Line plots: how runs learnt, and BLEU against the length of the source."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_jax.errors import UserError
from attention_jax.evaluation import fonts
from attention_jax.evaluation.plots import check_path, save_figure
from attention_jax.evaluation.run_summary import RunSummary
from attention_jax.evaluation.significance import LengthBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinguishable by the colour-blind; the yellow is darker than
# theirs, to be read on white. Beyond eight runs, dashes and markers distinguish them.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#000000", "#B8A800"),
)
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKERS = "osD^vPX<>*p"
# (event, field, title) of each panel of learning curves.
PANELS = (
    ("train", "loss", "training loss"),
    ("dev", "loss", "dev loss"),
    ("dev", "bleu", "dev BLEU"),
)
# What the curves may be drawn against, and the axis's label.
AGAINST = {"steps": "step", "minutes": "minutes"}

_POINTS = 9
# A loss that falls by more than this factor is drawn on a logarithmic axis.
_WIDE = 8.0
# Runs in one column of the legend.
_LEGEND_ROWS = 22


def plot_learning_curves(
    runs: Sequence[RunSummary],
    *,
    against: str = "steps",
    title: str = "",
    panels: Sequence[tuple[str, str, str]] = PANELS,
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """Learning curves, one line a run: training loss, dev loss, dev BLEU.

    A run without any row is in the legend, which says so. Losses are per token; the training
    loss is the objective, label smoothing and dropout included, so it compares between runs
    that agree in these.

    Args:
      runs: of `compare_runs`; at least one.
      against: "steps" or "minutes" of training.
      title: a line above.
      panels: (event, field, title) of the rows of metrics to draw.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Raises:
      ValueError: no runs, another `against`, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if path is not None:
        check_path(path)
    if not runs:
        raise ValueError("runs is empty: there is nothing to draw")
    if against not in AGAINST:
        choices = ", ".join(AGAINST)
        raise UserError(f"against must be one of {choices}, got {against!r}")
    labels = [run.name + " (no rows yet)" * (not run.rows) for run in runs]
    letters = fonts.lettering([*labels, title, *(name for _, _, name in panels)])
    with matplotlib.rc_context(_style(letters)):
        figure = Figure(figsize=(11.5, 3.6), dpi=150, layout="constrained")
        styles = [_line_style(number) for number in range(len(runs))]
        for axes, (event, field, name) in zip(
            figure.subplots(1, len(panels)), panels, strict=True
        ):
            for run, style in zip(runs, styles, strict=True):
                rows = [r for r in run.rows if r["event"] == event and field in r]
                if event == "train":
                    style = {**style, "marker": "", "linewidth": 1.2}
                x = [row["step" if against == "steps" else "minutes"] for row in rows]
                axes.plot(x, [row[field] for row in rows], **style)
            _finish(axes, name, AGAINST[against])
        if len(runs) > 1 or not runs[0].rows:
            figure.legend(
                [Line2D([], [], **style) for style in styles],
                [letters.spell(label) for label in labels],
                loc="outside right upper",
                handlelength=3.4,
                ncols=-(-len(labels) // _LEGEND_ROWS),
            )
        head = _head(letters, title)
        if head:
            figure.suptitle(head, x=0.01, ha="left")
        if path is not None:
            save_figure(figure, path)
    return figure


def plot_length_curves(
    bins: Sequence[LengthBin],
    *,
    unit: str = "tokens",
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """BLEU in each bin of source lengths, at the bin's mean length, with 95 % intervals.

    Args:
      bins: of `bleu_by_length`; at least one.
      unit: what the lengths count.
      title: a line above.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Raises:
      ValueError: no bins, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if path is not None:
        check_path(path)
    if not bins:
        raise ValueError("bins is empty: there is nothing to draw")
    names = [estimate.system for estimate in bins[0].bleu]
    letters = fonts.lettering([*names, title, unit])
    positions = [found.mean_length for found in bins]
    with matplotlib.rc_context(_style(letters) | {"axes.grid.axis": "y"}):
        figure = Figure(figsize=(7.2, 4.0), dpi=150, layout="constrained")
        axes = figure.subplots()
        for number, name in enumerate(names):
            style = _line_style(number)
            found = [one.bleu[number] for one in bins]
            low, high = zip(*(estimate.interval for estimate in found), strict=True)
            colour = style["color"]
            axes.fill_between(positions, low, high, color=colour, alpha=0.15, lw=0)
            scores = [estimate.score for estimate in found]
            axes.plot(positions, scores, label=letters.spell(name), **style)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("BLEU, with 95 % intervals")
        unit = letters.spell(unit)
        axes.set_xlabel(f"source length, {unit} (sentences); at the mean of each bin")
        ticks = [f"{found.name}\n({found.sentences:,})" for found in bins]
        axes.set_xticks(positions, ticks)
        if len(names) > 1:
            axes.legend()
        axes.set_title(_head(letters, title), loc="left")
        if path is not None:
            save_figure(figure, path)
    return figure


def _style(letters: fonts.Lettering) -> dict[str, Any]:
    """Matplotlib's settings for both figures."""
    return letters.rc(_POINTS) | {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "0.9",
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.fontsize": _POINTS - 1,
        "xtick.labelsize": _POINTS - 1,
        "ytick.labelsize": _POINTS - 1,
        "axes.titlesize": _POINTS + 1,
        "figure.titlesize": _POINTS + 1,
    }


def _line_style(number: int) -> dict[str, Any]:
    """The look of the line with this number: its colour, dashes and marker."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.6,
    }


def _head(letters: fonts.Lettering, title: str) -> str:
    lines: Iterable[str] = (letters.spell(title), letters.note())
    return "\n".join(filter(None, lines))


def _finish(axes: "Axes", name: str, label: str) -> None:
    """Title, scale and label of a panel whose lines are drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    values = drawn[np.isfinite(drawn)]
    axes.set_title(name)
    axes.set_xlabel(label)
    if not values.size:
        axes.set(xticks=[], yticks=[])
        middle = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no row yet", color="0.35", **middle)
        return
    plain = FuncFormatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(plain)
    axes.set_xlim(left=0)
    low, high = values.min(), values.max()
    if "loss" in name and 0 < low and high > _WIDE * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif "BLEU" in name:
        axes.set_ylim(bottom=0)
