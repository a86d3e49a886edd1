"""The figure of several runs' training."""

import pytest

from attention_jax.evaluation.learning_curves import COLOURS, plot_learning_curves
from attention_jax.evaluation.run_comparison import compare_runs
from tests.evaluation.made_runs import dev_row, make_run


@pytest.fixture
def runs(tmp_path):
    make_run(tmp_path / "runs" / "$a$_é")
    make_run(tmp_path / "runs" / "b", [dev_row(20), dev_row(40, bleu=50.0)], seed=1)
    make_run(tmp_path / "runs" / "c", [])
    return compare_runs([tmp_path / "runs"]).runs


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_panel_for_each_curve_and_a_line_for_each_run(runs, tmp_path):
    path = tmp_path / "curves.png"
    figure = plot_learning_curves(runs, title="three runs", path=path)
    assert path.stat().st_size > 10_000
    assert labels(figure) == ["$a$_é", "b", "c (no rows yet)"]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["training loss", "dev loss", "dev BLEU"]
    first, second, third = figure.axes[2].lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([20, 40], [30, 20])
    assert list(second.get_ydata()) == [10, 50]
    assert list(third.get_ydata()) == []
    # 4 to 0.5, and 2 to 3: only what falls far is logarithmic.
    assert [axes.get_yscale() for axes in figure.axes] == ["linear"] * 3
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}


def test_a_wide_fall_is_logarithmic_and_minutes_are_an_axis(tmp_path):
    rows = [dev_row(20, loss=9.0), dev_row(40, loss=0.1)]
    runs = compare_runs([make_run(tmp_path / "run", rows)]).runs
    figure = plot_learning_curves(runs, against="minutes")
    assert figure.axes[1].get_yscale() == "log"
    assert list(figure.axes[1].lines[0].get_xdata()) == [2.0, 4.0]
    assert {axes.get_xlabel() for axes in figure.axes} == {"minutes"}
    # Without a train row the first panel says so.
    assert [text.get_text() for text in figure.axes[0].texts] == ["no row yet"]


def test_no_two_of_many_runs_look_alike(tmp_path):
    for number in range(30):
        make_run(tmp_path / f"run{number:02}", [dev_row(20)])
    figure = plot_learning_curves(compare_runs([tmp_path]).runs)
    looks = {
        (line.get_color(), str(line._unscaled_dash_pattern), line.get_marker())
        for line in figure.axes[1].lines
    }
    assert len(looks) == 30
    assert {color for color, _, _ in looks} == {*COLOURS}
    assert len(labels(figure)) == 30


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_the_other_formats(runs, tmp_path, suffix):
    path = tmp_path / f"curves.{suffix}"
    plot_learning_curves(runs, path=path)
    assert path.stat().st_size > 1_000


def test_what_cannot_be_drawn(runs, tmp_path):
    with pytest.raises(ValueError, match="runs is empty"):
        plot_learning_curves([])
    with pytest.raises(ValueError, match="against must be one of steps, minutes"):
        plot_learning_curves(runs, against="hours")
    with pytest.raises(ValueError, match="saved as one of .png"):
        plot_learning_curves(runs, path=tmp_path / "f.gif")
