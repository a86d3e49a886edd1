"""Comparison with older results: the machine's mood is taken out, the spread respected."""

import copy

import pytest

from attention_jax.benchmarking import report
from attention_jax.benchmarking.comparison import compare
from attention_jax.benchmarking.results import SCHEMA, VERSION, read_result


def row(name, seconds, *, ours=True, spread=0.02):
    summary = {
        "median": seconds,
        "low_quartile": seconds * (1 - spread),
        "high_quartile": seconds * (1 + spread),
        "min": seconds * (1 - spread),
        "samples": [seconds],
    }
    return {"candidate": name, "ours": ours, "status": "measured", "seconds": summary}


def case(*rows, workload="w", peak=100e9):
    return {
        "workload": workload,
        "score": "dot",
        "normalizer": "softmax",
        "dtype": "float32",
        "pass": "forward",
        "shapes": {"leading": [2], "T": 4, "S": 4},
        "flops": 1e9,
        "peak_flops_per_second": peak,
        "baseline": "auto",
        "rows": list(rows),
    }


def result(*cases, version="1.0"):
    peers = {"jax_nn": {"version": version}, "torch_sdpa": {"unavailable": "no"}}
    return {"schema": SCHEMA, "version": VERSION, "peers": peers, "cases": list(cases)}


def test_peers_of_the_same_version_measure_the_machine():
    old = result(case(row("auto", 1.0), row("jax_nn", 2.0, ours=False)))
    new = result(case(row("auto", 2.0), row("jax_nn", 4.0, ours=False)))
    (change,) = compare(old, new)
    assert (change.candidate, change.yardstick) == ("auto", "peers")
    assert (change.raw, change.machine, change.normalized) == (2.0, 2.0, 1.0)
    assert not change.slower


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_matmul_peak_measures_it_where_no_peer_can(version):
    peer = () if version == "1.0" else (row("jax_nn", 9.0, ours=False),)
    old = result(case(row("auto", 1.0), *peer, peak=100e9))
    new = result(case(row("auto", 2.0), *peer, peak=50e9), version=version)
    (change,) = compare(old, new)
    assert (change.yardstick, change.machine, change.slower) == (
        "matmul peak",
        2.0,
        False,
    )


@pytest.mark.parametrize(
    ("seconds", "spread", "slower"),
    [(1.05, 0.01, False), (1.3, 0.02, True), (1.3, 0.2, False), (0.5, 0.02, False)],
)
def test_slower_is_by_more_than_a_tenth_and_the_spread(seconds, spread, slower):
    old = result(case(row("auto", 1.0, spread=spread)))
    (change,) = compare(old, result(case(row("auto", seconds, spread=spread))))
    assert change.slower == slower
    text = report.comparison_summary([change])
    assert text.startswith(f"{int(slower)} of 1 slower")
    marks = [cells[2] for cells in report.comparison_rows([change])[1:]]
    assert marks == (["SLOWER"] if slower else [""])


def test_only_what_both_measured_is_compared_worst_first():
    old = result(
        case(row("auto", 1.0), row("chunked", 1.0)),
        case(row("auto", 1.0), workload="gone"),
        case(row("auto", 1.0), workload="resized"),
    )
    new = copy.deepcopy(old)
    new["cases"][0]["rows"] = [row("auto", 1.1), row("chunked", 1.5), row("new", 1.0)]
    new["cases"][1]["workload"] = "added"
    new["cases"][2]["shapes"]["T"] = 8
    changes = compare(old, new)
    assert [change.candidate for change in changes] == ["chunked", "auto"]
    assert {change.case for change in changes} == {"w dot softmax float32 forward"}
    assert "no case" in report.comparison_summary([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a benchmark's result"),
        ('{"bleu": 1}', "is not a benchmark's result"),
        (f'{{"schema": "{SCHEMA}", "version": 99}}', "is of version 99"),
    ],
)
def test_another_file_is_told(text, message, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_result(path)
