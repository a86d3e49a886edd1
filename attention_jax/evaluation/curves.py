"""Line plots: how runs learnt, and BLEU against the length of the source."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_jax.evaluation import fonts
from attention_jax.evaluation.compare import RunSummary
from attention_jax.evaluation.plots import save_figure
from attention_jax.evaluation.significance import LengthBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, distinguishable by the colour-blind; the yellow is darker than theirs.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#000000", "#B8A800"),
)
# (event, field, title) of each panel. The training loss may have smoothed labels.
PANELS = (
    ("train", "cross_entropy", "training cross-entropy"),
    ("dev", "loss", "dev cross-entropy"),
    ("dev", "bleu", "dev BLEU"),
)

_POINTS = 9
# A loss that falls by more than this factor is drawn on a logarithmic axis.
_WIDE = 8.0
# Runs in one column of the legend.
_LEGEND_ROWS = 22


def plot_learning_curves(
    runs: Sequence[RunSummary], *, path: str | os.PathLike[str] | None = None
) -> "Figure":
    """Learning curves, one line a run: cross-entropy in training and on dev, dev BLEU.

    A run without any row is in the legend, which says so. Cross-entropies are per token,
    without label smoothing; in training with dropout. `path` is as for `plot_weights`.

    Raises:
      ValueError: no runs, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if not runs:
        raise ValueError("runs is empty: there is nothing to draw")
    labels = [run.name + " (no rows yet)" * (not run.rows) for run in runs]
    letters = fonts.lettering(labels)
    with matplotlib.rc_context(_style(letters)):
        figure = Figure(figsize=(11.5, 3.6), dpi=150, layout="constrained")
        lines = []
        for axes, (event, field, name) in zip(
            figure.subplots(1, len(PANELS)), PANELS, strict=True
        ):
            marker = "" if event == "train" else "o"
            for run in runs:
                rows = [r for r in run.rows if r["event"] == event and field in r]
                steps = [row["step"] for row in rows]
                lines += axes.plot(steps, [row[field] for row in rows], marker=marker)
            axes.set(title=name, xlabel="step")
            _scale(axes, name)
        if len(runs) > 1 or not runs[0].rows:
            figure.legend(
                lines[-len(runs) :],
                [letters.spell(label) for label in labels],
                loc="outside right upper",
                handlelength=3.4,
                ncols=-(-len(labels) // _LEGEND_ROWS),
            )
        if letters.missing:
            figure.suptitle(letters.note(), x=0.01, ha="left")
        if path is not None:
            save_figure(figure, path)
    return figure


def plot_length_curves(
    bins: Sequence[LengthBin],
    *,
    unit: str = "tokens",
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """BLEU in each bin of source lengths, at the bin's mean length, with 95 % intervals.

    `bins` are of `bleu_by_length`, `unit` is what lengths count, `path` as for
    `plot_weights`.

    Raises:
      ValueError: no bins, an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if not bins:
        raise ValueError("bins is empty: there is nothing to draw")
    names = [estimate.system for estimate in bins[0].bleu]
    letters = fonts.lettering([*names, unit])
    positions = [found.mean_length for found in bins]
    with matplotlib.rc_context(_style(letters) | {"axes.grid.axis": "y"}):
        figure = Figure(figsize=(7.2, 4.0), dpi=150, layout="constrained")
        axes = figure.subplots()
        for number, name in enumerate(names):
            found = [one.bleu[number] for one in bins]
            scores, label = [estimate.score for estimate in found], letters.spell(name)
            [line] = axes.plot(positions, scores, marker="o", label=label)
            low, high = zip(*(estimate.interval for estimate in found), strict=True)
            band = {"color": line.get_color(), "alpha": 0.15, "lw": 0}
            axes.fill_between(positions, low, high, **band)
        unit = letters.spell(unit)
        axes.set_ylim(bottom=0)
        axes.set(
            title=letters.note(),
            ylabel="BLEU, with 95 % intervals",
            xlabel=f"source length, {unit} (sentences); at the mean of each bin",
        )
        ticks = [f"{found.name}\n({found.sentences:,})" for found in bins]
        axes.set_xticks(positions, ticks)
        if len(names) > 1:
            axes.legend()
        if path is not None:
            save_figure(figure, path)
    return figure


def _style(letters: fonts.Lettering) -> dict[str, Any]:
    """Matplotlib's settings for both figures: first other colours, then other dashes."""
    from matplotlib.rcsetup import cycler

    dashes = cycler(linestyle=["-", "--", ":", "-."])
    return letters.rc(_POINTS) | {
        "axes.prop_cycle": dashes * cycler(color=COLOURS),
        "lines.markersize": 4,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "0.9",
        "legend.frameon": False,
        "legend.fontsize": "small",
    }


def _scale(axes: "Axes", name: str) -> None:
    """The scales of a panel whose lines are drawn: a loss that falls far is logarithmic."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    values = drawn[np.isfinite(drawn)]
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(left=0)
    if "BLEU" in name:
        axes.set_ylim(bottom=0)
    elif values.size and 0 < _WIDE * values.min() < values.max():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter("")
