"""A figure of a benchmark: time and memory against length, both logarithmic."""

import collections
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attention_jax.benchmarking.workloads import Workload
from attention_jax.evaluation.plots import check_path, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour-blind: blues and black for ours, one
# for each library of the peers. Markers tell the candidates of one colour apart.
OUR_COLOURS = ("#0072B2", "#56B4E9", "#000000")
PEER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#B8A800", "#D55E00")
MARKERS = "osD^vPX<>*p"

_NO_SERIES = (
    "a figure against length needs two or more workloads that differ in length alone, "
    "such as --workloads=length"
)
_POINTS = 9
# What no temporaries at all are drawn as, since a logarithm has no zero.
_LEAST_BYTES = 1e3


def plot_lengths(
    result: dict[str, Any], *, path: str | os.PathLike[str] | None = None
) -> "Figure":
    """Run time and temporaries of every candidate against the number of keys.

    A row of two panels for each pass. Ours are drawn solid, peers dashed; bars span the
    quartiles; the grey line is the time that the useful FLOPs take at the matmul peak. A
    line ends where a candidate could not go on.

    Args:
      result: of `benchmark`; drawn is the largest group of its cases that differ in
        length alone, with each pass that the group has.
      path: where to save the figure: .png, .pdf or .svg. The folder must exist.

    Raises:
      ValueError: no two cases differ in length alone; an unknown file format.
      FileNotFoundError: the folder of `path` does not exist.
    """
    from matplotlib.figure import Figure

    if path is not None:
        check_path(path)
    group = series(result)
    passes = list(dict.fromkeys(case["pass"] for case in group))
    names = list(dict.fromkeys(r["candidate"] for c in group for r in c["rows"]))
    ours = {r["candidate"] for c in group for r in c["rows"] if r["ours"]}
    styles = _styles(names, ours)
    peak = max(case["peak_flops_per_second"] for case in group)
    figure = Figure(
        figsize=(9.5, 0.9 + 3.1 * len(passes)), dpi=150, layout="constrained"
    )
    panels = figure.subplots(len(passes), 2, squeeze=False)
    for which, (time, memory) in zip(passes, panels, strict=True):
        cases = [case for case in group if case["pass"] == which]
        _draw_time(time, cases, styles, peak)
        _draw_memory(memory, cases, styles)
        time.set_ylabel(f"{which}, seconds", fontsize=_POINTS)
    lengths = sorted({case["shapes"]["S"] for case in group})
    for axes in panels.flat:
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [f"{n:,}" for n in lengths], fontsize=_POINTS - 1)
        axes.tick_params(axis="y", labelsize=_POINTS - 1)
        axes.grid(which="major", color="0.9", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_title("run time", fontsize=_POINTS + 1)
    panels[0, 1].set_title("temporaries", fontsize=_POINTS + 1)
    for axes in panels[-1]:
        axes.set_xlabel("queries = keys", fontsize=_POINTS)
    handles = {
        label: handle
        for axes in panels.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside right upper",
        fontsize=_POINTS - 1,
        frameon=False,
        handlelength=3.2,
    )
    figure.suptitle(_title(group[0], result), fontsize=_POINTS, x=0.01, ha="left")
    if path is not None:
        save_figure(figure, path)
    return figure


def series(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The largest group of cases that differ in length, and perhaps pass, alone.

    Raises:
      ValueError: there is none with two lengths.
    """
    groups: dict[Any, dict[Any, dict[str, Any]]] = collections.defaultdict(dict)
    for case in result["cases"]:
        shapes = case["shapes"]
        if shapes["T"] == shapes["S"] and any("seconds" in r for r in case["rows"]):
            names = (case["score"], case["normalizer"], case["dtype"], shapes["mask"])
            sizes = (*shapes["leading"], shapes["Q"], shapes["K"], shapes["V"])
            # Two workloads of one shape are drawn once.
            groups[names, sizes].setdefault((shapes["S"], case["pass"]), case)
    largest = max(
        groups.values(), key=lambda group: len({n for n, _ in group}), default={}
    )
    if len({length for length, _ in largest}) < 2:
        raise ValueError(_NO_SERIES)
    return [largest[key] for key in sorted(largest, key=lambda key: key[0])]


def check_workloads(workloads: Iterable[Workload]) -> None:
    """Raises ValueError if results of these workloads could not be drawn."""
    lengths = collections.defaultdict(set)
    for one in workloads:
        if one.T == one.S:
            lengths[one.leading, one.Q, one.K, one.V, one.mask.name].add(one.S)
    if not any(len(found) > 1 for found in lengths.values()):
        raise ValueError(_NO_SERIES)


def _styles(names: list[str], ours: set[str]) -> dict[str, dict[str, Any]]:
    """How each candidate's line looks."""
    libraries = list(dict.fromkeys(n.split("_")[0] for n in names if n not in ours))
    own = [name for name in names if name in ours]
    styles = {}
    for number, name in enumerate(names):
        if name in ours:
            colour = OUR_COLOURS[own.index(name) % len(OUR_COLOURS)]
        else:
            library = libraries.index(name.split("_")[0])
            colour = PEER_COLOURS[library % len(PEER_COLOURS)]
        styles[name] = {
            "color": colour,
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": "-" if name in ours else (0, (4, 2)),
            "linewidth": 2.0 if name in ours else 1.3,
            "markersize": 5,
            "zorder": 3 if name in ours else 2,
        }
    return styles


def _draw_time(
    axes: "Axes", cases: list[dict[str, Any]], styles: dict, peak: float
) -> None:
    for name, style in styles.items():
        found = [(c["shapes"]["S"], r["seconds"]) for c, r in _rows(cases, name)]
        if not found:
            continue
        lengths = [length for length, _ in found]
        medians = [seconds["median"] for _, seconds in found]
        below = [s["median"] - s["low_quartile"] for _, s in found]
        above = [s["high_quartile"] - s["median"] for _, s in found]
        axes.errorbar(
            lengths, medians, yerr=(below, above), label=name, capsize=2, **style
        )
    lengths = [case["shapes"]["S"] for case in cases]
    fastest = [case["flops"] / peak for case in cases]
    axes.plot(
        lengths, fastest, color="0.6", linewidth=4, alpha=0.4, label="matmul peak"
    )
    axes.set_yscale("log")


def _draw_memory(axes: "Axes", cases: list[dict[str, Any]], styles: dict) -> None:
    from matplotlib.ticker import FuncFormatter

    from attention_jax.benchmarking.report import size

    for name, style in styles.items():
        found = [
            (c["shapes"]["S"], r["memory"]["bytes"]) for c, r in _rows(cases, name)
        ]
        found = [(s, max(b, _LEAST_BYTES)) for s, b in found if b is not None]
        if found:
            axes.plot(*zip(*found, strict=True), label=name, **style)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))


def _rows(cases: list[dict[str, Any]], name: str) -> list[tuple[dict, dict]]:
    return [
        (case, row)
        for case in cases
        for row in case["rows"]
        if row["candidate"] == name and "seconds" in row
    ]


def _title(case: dict[str, Any], result: dict[str, Any]) -> str:
    shapes, environment = case["shapes"], result["environment"]
    leading = "×".join(map(str, shapes["leading"])) or "one sequence"
    return (
        f"{case['score']}, {case['normalizer']}, {case['dtype']}, {leading}, "
        f"{shapes['Q']} features, mask {shapes['mask']}\n"
        f"{environment['cpus']} × {environment['cpu'] or environment['device']}, "
        f"jax {environment['versions']['jax']}"
    )
