"""Figures of learning curves and of BLEU by source length."""

import pytest

from attention_jax.evaluation.compare import compare_runs
from attention_jax.evaluation.curves import plot_learning_curves, plot_length_curves
from attention_jax.evaluation.significance import Estimate, LengthBin
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
    figure = plot_learning_curves(runs, path=path)
    assert path.stat().st_size > 10_000
    assert labels(figure) == ["$a$_é", "b", "c (no rows yet)"]
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["training cross-entropy", "dev cross-entropy", "dev BLEU"]
    first, second, third = figure.axes[2].lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([20, 40], [30, 20])
    assert list(second.get_ydata()) == [10, 50]
    assert list(third.get_ydata()) == []
    # 4 to 0.5, and 2 to 3: only what falls far is logarithmic.
    assert [axes.get_yscale() for axes in figure.axes] == ["linear"] * 3
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}


def test_a_wide_fall_is_logarithmic(tmp_path):
    rows = [dev_row(20, loss=9.0), dev_row(40, loss=0.1)]
    runs = compare_runs([make_run(tmp_path / "run", rows)]).runs
    figure = plot_learning_curves(runs)
    assert figure.axes[1].get_yscale() == "log"


def test_no_two_of_many_runs_look_alike(tmp_path):
    for number in range(30):
        make_run(tmp_path / f"run{number:02}", [dev_row(20)])
    figure = plot_learning_curves(compare_runs([tmp_path]).runs)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[1].lines}
    assert len(looks) == 30
    assert len(labels(figure)) == 30


def test_what_cannot_be_drawn(runs, tmp_path):
    with pytest.raises(ValueError, match="runs is empty"):
        plot_learning_curves([])
    with pytest.raises(ValueError, match="saved as one of .png"):
        plot_learning_curves(runs, path=tmp_path / "f.gif")


def length_bin(shortest, longest, sentences, scores):
    found = [
        Estimate(name, "BLEU", score, score, 2.0, None, "")
        for name, score in zip(("$with$", "without"), scores, strict=True)
    ]
    mean = (shortest + longest) / 2
    return LengthBin(shortest, longest, mean, sentences, tuple(found))


def test_bleu_by_length_has_a_line_and_a_band_for_each_system(tmp_path):
    path = tmp_path / "curve.png"
    found = [length_bin(2, 3, 3, (50.0, 40.0)), length_bin(9, 30, 2, (20.0, 10.0))]
    figure = plot_length_curves(found, unit="characters", path=path)
    assert path.stat().st_size > 10_000
    [axes] = figure.axes
    first, second = axes.lines
    assert list(first.get_xdata()) == [2.5, 19.5]
    assert list(first.get_ydata()) == [50.0, 20.0]
    assert list(second.get_ydata()) == [40.0, 10.0]
    assert len(axes.collections) == 2
    labels = axes.get_legend().get_texts()
    assert [text.get_text() for text in labels] == ["$with$", "without"]
    assert not any(text.get_parse_math() for text in labels)
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["2–3\n(3)", "9–30\n(2)"]
    assert "characters" in axes.get_xlabel()
    with pytest.raises(ValueError, match="bins is empty"):
        plot_length_curves([])
    with pytest.raises(ValueError, match="xyz"):
        plot_length_curves(found, path=tmp_path / "f.xyz")
