"""A figure of several runs' training: loss, dev loss and dev BLEU as they went."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_jax.evaluation import fonts
from attention_jax.evaluation.plots import check_path, save_figure
from attention_jax.evaluation.run_summary import RunSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour-blind; the yellow is darker than theirs,
# to be read on white. Beyond so many runs, dashes and markers tell them apart.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
    "#B8A800",
)
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKERS = "osD^vPX<>*p"

# (event, field, title) of each panel.
PANELS = (
    ("train", "loss", "training loss"),
    ("dev", "loss", "dev loss"),
    ("dev", "bleu", "dev BLEU"),
)
# What the curves may be drawn against, and what the axis says.
AGAINST = {"steps": "step", "minutes": "minutes"}

_POINTS = 9
# A loss that falls by more than this is drawn on a logarithmic axis.
_WIDE = 8.0
# Runs in one column of the legend.
_LEGEND_ROWS = 22


def plot_learning_curves(
    runs: Sequence[RunSummary],
    *,
    against: str = "steps",
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """Three panels, one line a run: training loss, dev loss, dev BLEU.

    A run without any row is in the legend, which says so. Losses are per token; the training
    loss is the objective, label smoothing and dropout included, so it compares between runs
    that agree in these.

    Args:
      runs: of `compare_runs`; at least one.
      against: "steps" or "minutes" of training.
      title: a line above.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Raises:
      ValueError: no runs, another `against`, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    from matplotlib.figure import Figure

    if path is not None:
        check_path(path)
    if not runs:
        raise ValueError("runs is empty: there is nothing to draw")
    if against not in AGAINST:
        raise ValueError(
            f"against must be one of {', '.join(AGAINST)}, got {against!r}"
        )
    labels = [run.name + " (no rows yet)" * (not run.rows) for run in runs]
    letters = fonts.lettering([*labels, title, *(name for _, _, name in PANELS)])
    words: dict[str, Any] = {"family": letters.families, "parse_math": False}
    figure = Figure(figsize=(11.5, 3.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(PANELS))
    styles = [line_style(number) for number in range(len(runs))]
    for axes, (event, field, name) in zip(panels, PANELS, strict=True):
        for run, style in zip(runs, styles, strict=True):
            rows = [row for row in run.rows if row["event"] == event]
            if event == "train":
                style = {**style, "marker": "", "linewidth": 1.2}
            x = [row["step" if against == "steps" else "minutes"] for row in rows]
            axes.plot(x, [row[field] for row in rows], **style)
        _finish(axes, name, against, words)
    _legend(figure, styles, [letters.spell(label) for label in labels], words)
    head = "\n".join(filter(None, (letters.spell(title), letters.note())))
    if head:
        figure.suptitle(head, fontsize=_POINTS, x=0.01, ha="left", **words)
    if path is not None:
        save_figure(figure, path)
    return figure


def line_style(number: int) -> dict[str, Any]:
    """How the lines of the run with this number look: by colour, dashes and marker."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.6,
    }


def _finish(axes: "Axes", name: str, against: str, words: dict[str, Any]) -> None:
    """Title, scale and grid of a panel whose lines are drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    values = drawn[np.isfinite(drawn)]
    axes.set_title(name, fontsize=_POINTS + 1, **words)
    axes.set_xlabel(AGAINST[against], fontsize=_POINTS, **words)
    axes.tick_params(labelsize=_POINTS - 1, labelfontfamily=words["family"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="0.9", linewidth=0.7)
    if not values.size:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5,
            0.5,
            "no row yet",
            ha="center",
            va="center",
            transform=axes.transAxes,
            fontsize=_POINTS,
            color="0.35",
            **words,
        )
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


def _legend(
    figure: "Figure",
    styles: Sequence[dict[str, Any]],
    labels: Sequence[str],
    words: dict[str, Any],
) -> None:
    """All runs to the right of the panels, in the order of the runs."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.lines import Line2D

    legend = figure.legend(
        [Line2D([], [], **style) for style in styles],
        labels,
        loc="outside right upper",
        frameon=False,
        handlelength=3.4,
        ncols=-(-len(labels) // _LEGEND_ROWS),
        prop=FontProperties(family=words["family"], size=_POINTS - 1),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
