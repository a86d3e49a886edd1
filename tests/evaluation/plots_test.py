import errno
import itertools
import logging
import os
import subprocess
import sys

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from attention_jax.evaluation import fonts
from attention_jax.evaluation.plots import (
    Panel,
    check_path,
    plot_weights,
    plot_weights_grid,
)

SOURCE = list("2024年3月5日星期二")
TARGET = ["Tuesday", ",", "March", "5", ",", "2024"]


def uniform(target, source):
    return np.full((len(target), len(source)), 1 / len(source))


def panels_of_all_kinds():
    rng = np.random.default_rng(0)
    texts = [
        (SOURCE, TARGET),
        (list("12.5公里"), ["12.5", "kilometers"]),
        (["a", "considerably", "longer", "source"], ["Donaudampfschiff", "fährt"]),
        (["US$3", "$5$", "$x^2$", "a_b"], ["{", "\\frac", "%", "שלום", "한"]),
        (["x"] * 30, ["y"]),
    ]
    return [
        Panel(rng.dirichlet(np.ones(len(source)), len(target)), source, target, "题 t")
        for source, target in texts
    ]


def label_texts(labels):
    return [label.get_text() for label in labels]


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_every_label_is_drawn_without_a_warning(tmp_path, suffix, caplog, monkeypatch):
    # Warnings are errors here, so a missing glyph fails; findfont complains to the log.
    monkeypatch.setattr(fonts, "_system_families", list)
    path = tmp_path / f"figure.{suffix}"
    with caplog.at_level(logging.WARNING):
        figure = plot_weights_grid(panels_of_all_kinds(), path=path)
    assert not caplog.records
    # Five panels with one scale, and the colour bar; an unused place holds nothing.
    *axes, bar = figure.axes
    assert len({one.images[0].get_clim() for one in axes}) == 1 and len(axes) == 5
    assert bar.get_ylabel() == "attention weight"
    assert "[U+D55C]" in label_texts(axes[3].get_yticklabels())
    assert any("U+D55C" in text.get_text() for text in figure.texts)
    assert not any(c.get_paths() for c in axes[0].collections)
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(magic)


def test_a_missing_glyph_would_be_an_error(tmp_path):
    # The counterpart of the test above: Matplotlib does warn when nobody looks.
    figure = plot_weights([[1.0]], ["a"], ["b"])
    figure.axes[0].set_yticks([0], ["한"], family=["Noto Sans SC"])
    with pytest.raises(UserWarning, match="missing from"):
        figure.savefig(tmp_path / "figure.png")


def test_source_words_are_above_and_target_words_at_the_side():
    weights = np.random.default_rng(0).dirichlet(np.ones(len(SOURCE)), len(TARGET))
    axes = plot_weights(weights, SOURCE, TARGET, title="a date").axes[0]
    assert label_texts(axes.get_xticklabels()) == SOURCE
    assert label_texts(axes.get_yticklabels()) == TARGET
    assert axes.get_title(loc="left") == "a date"
    assert axes.xaxis.get_tick_params()["labeltop"]
    assert not axes.xaxis.get_tick_params()["labelbottom"]
    [image] = axes.images
    np.testing.assert_array_equal(image.get_array(), weights)
    # Row 0 is at the top.
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("weights", "limits"),
    [
        (jnp.array([[0.25, 0.5]], jnp.bfloat16), (0, 1)),
        ([[0.0, 0.0]], (0, 1)),
        ([[2.5, 0.0]], (0, 2.5)),
        ([[-1.0, 0.5]], (-1, 1)),
    ],
)
def test_colours_run_from_0_to_1_and_further_when_weights_do(weights, limits):
    [image] = plot_weights(weights, ["a", "b"], ["c"]).axes[0].images
    assert image.get_clim() == limits
    np.testing.assert_array_equal(image.get_array(), np.asarray(weights, np.float64))


def test_gold_links_are_outlined():
    links = {(9, 0), (4, 2), (5, 2)}
    axes = plot_weights(uniform(TARGET, SOURCE), SOURCE, TARGET, links=links).axes[0]
    for outlines in axes.collections:
        boxes = [path.get_extents() for path in outlines.get_paths()]
        assert {(box.x0 + 0.5, box.y0 + 0.5) for box in boxes} == links
        assert {(box.width, box.height) for box in boxes} == {(1, 1)}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((2, 3)), r"weights has 2 rows but target has 1 words"),
        (np.ones((1, 2)), r"weights has 2 columns but source has 3 words"),
        (np.ones(3), r"weights must be \[T, S\] and not empty, got shape \(3,\)"),
        (np.ones((0, 3)), r"not empty, got shape \(0, 3\)"),
        ([[1.0, np.nan, np.inf]], "weights holds 2 values that are not finite"),
    ],
)
def test_weights_that_cannot_be_drawn(weights, message):
    with pytest.raises(ValueError, match=message):
        plot_weights(weights, ["a", "b", "c"], ["d"])


def test_what_cannot_be_drawn():
    for link in ((3, 0), (0, 1), (-1, 0)):
        with pytest.raises(ValueError, match=r"links holds .*outside 3 source and 1"):
            plot_weights([[1, 0, 0]], "abc", "d", links={link})
    with pytest.raises(ValueError, match=r"panels\[1\]: weights has 2 columns"):
        plot_weights_grid([Panel([[1]], "a", "b"), Panel([[1, 0]], "a", "b")])
    with pytest.raises(ValueError, match="panels is empty"):
        plot_weights_grid([])
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        plot_weights_grid([Panel([[1]], "a", "b")], columns=0)


def test_a_figure_file_must_have_a_known_format_and_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.pdf, \.svg, got '.*x\.gif'"):
        check_path(tmp_path / "x.gif")
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
        plot_weights([[1.0]], "a", "b", path=tmp_path / "nowhere" / "x.png")
    check_path(tmp_path / "X.PNG")


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*x\.png: No space left"):
        plot_weights([[1.0]], "a", "b", path=path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def boxes_of(figure):
    """Pixel boxes, each drawn once: (cells, everything of it) per axes."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    return [
        (axes.get_window_extent(renderer), axes.get_tightbbox(renderer))
        for axes in figure.axes
    ]


@pytest.mark.parametrize("columns", [1, 3])
def test_nothing_is_cut_nothing_overlaps_and_cells_are_equal_squares(columns):
    panels = panels_of_all_kinds()
    figure = plot_weights_grid(panels, columns=columns)
    width, height = figure.get_size_inches() * figure.dpi
    boxes = boxes_of(figure)
    for _, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    for (_, one), (_, other) in itertools.combinations(boxes, 2):
        apart = one.x1 <= other.x0 or other.x1 <= one.x0
        assert apart or one.y1 <= other.y0 or other.y1 <= one.y0
    sides = [
        side
        for panel, (cells, _) in zip(panels, boxes, strict=False)
        for side in (
            cells.width / len(panel.source),
            cells.height / len(panel.target),
        )
    ]
    np.testing.assert_allclose(sides, sides[0], rtol=1e-6)
    titles = [text for text in figure.texts if text.get_text()]
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in titles:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
        assert all(box.y0 >= b.y1 or box.y1 <= b.y0 for _, b in boxes)


@pytest.mark.parametrize("words", [["a"] * 9, ["attention"] * 9, list("注意力分布")])
def test_neighbouring_source_words_do_not_touch(words):
    figure = plot_weights(np.ones((1, len(words))), words, ["x"])
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    labels = figure.axes[0].get_xticklabels()
    for left, right in itertools.pairwise(labels):
        if left.get_rotation() == 0:
            first, second = (x.get_window_extent(renderer) for x in (left, right))
            assert first.x1 < second.x0
        else:
            # Parallel slopes: the distance between base lines exceeds a line's height.
            step = right.get_window_extent(renderer).x0
            step -= left.get_window_extent(renderer).x0
            line = float(left.get_fontsize()) / 72 * figure.dpi
            assert step * np.sin(np.pi / 4) > 0.7 * line


def test_a_long_sentence_shrinks_the_cells_not_the_page_grows_without_end():
    short = plot_weights(np.ones((1, 5)), ["a"] * 5, ["x"])
    long = plot_weights(np.ones((1, 400)), ["a"] * 400, ["x"])
    assert short.get_size_inches()[0] < 4
    assert long.get_size_inches()[0] < 27
    sizes = [
        float(f.axes[0].get_xticklabels()[0].get_fontsize()) for f in (short, long)
    ]
    assert sizes[1] < sizes[0] / 4


def test_words_and_titles_without_end_lose_their_middle():
    word, title = "国" * 2_000 + "z" * 3_000, "t" * 20_000
    figure = plot_weights([[1.0]], ["a" * 48], [word], title=title)
    [above] = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    [beside] = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert above == "a" * 48
    assert beside == "国" * 23 + "…" + "z" * 23
    assert figure.axes[0].get_title(loc="left") == "t" * 119 + "…" + "t" * 119
    assert max(figure.get_size_inches()) < 40


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_equal_weights_make_equal_files(tmp_path, suffix):
    for name in ("one", "two"):
        plot_weights([[0.5, 0.5]], "我你", "x", path=tmp_path / f"{name}.{suffix}")
    one, two = (tmp_path / f"{name}.{suffix}" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_matplotlibs_settings_stay_and_pyplot_is_not_imported(tmp_path):
    before = dict(matplotlib.rcParams)
    plot_weights([[0.5, 0.5]], "我你", "x", title="t", path=tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
    program = (
        "import sys; from attention_jax.evaluation.plots import plot_weights; "
        "assert 'matplotlib' not in sys.modules; plot_weights([[1.0]], 'a', 'b'); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
