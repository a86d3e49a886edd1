"""The figure of time and memory against length."""

import pytest

from attention_jax.benchmarking.length_figure import (
    check_workloads,
    plot_lengths,
    series,
)
from attention_jax.benchmarking.workloads import select_workloads
from tests.benchmarking.comparison_test import case, result, row


def sized(length, *rows, which="forward", mask="full"):
    shapes = {"leading": [], "T": length, "S": length, "Q": 4, "K": 4, "V": 4}
    rows = [one | {"memory": {"bytes": 4 * length, "by": "xla"}} for one in rows]
    one = case(*rows) | {"pass": which, "workload": f"length_{length}"}
    return one | {"shapes": shapes | {"mask": mask}}


def results():
    cases = [
        sized(n, row("auto", n / 1e6), row("jax_nn", n / 1e5, ours=False), which=which)
        for n in (512, 256, 1024)
        for which in ("forward", "gradient")
    ]
    cases += [sized(256, row("auto", 1.0), mask="causal")]
    environment = {"cpus": 2, "cpu": "a [CPU] of $10", "versions": {"jax": "0"}}
    return result(*cases) | {"environment": environment}


def test_the_series_is_the_largest_group_in_order_of_length():
    found = [(c["shapes"]["S"], c["pass"]) for c in series(results())]
    lengths = (256, 512, 1024)
    assert found == [(n, p) for n in lengths for p in ("forward", "gradient")]


def test_a_row_of_panels_for_each_pass_and_a_line_for_each_candidate(tmp_path):
    path = tmp_path / "lengths.png"
    figure = plot_lengths(results(), path=path)
    assert path.stat().st_size > 10_000
    assert len(figure.axes) == 4
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == ["auto", "jax_nn", "matmul peak"]
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_without_two_lengths_there_is_no_figure():
    with pytest.raises(ValueError, match="two or more workloads"):
        plot_lengths(result(sized(256, row("auto", 1.0))))
    with pytest.raises(ValueError, match="two or more workloads"):
        check_workloads(select_workloads(["translation", "dot_256", "dot_1024_causal"]))
    check_workloads(select_workloads(["length"]))
    check_workloads(select_workloads(["dot_256", "dot_1024"]))
