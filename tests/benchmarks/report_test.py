"""Comparison with older results, the result files, and the pages that quote them."""

import copy
import json
import re

import pytest

from benchmarks.harness import TOLERANCES
from benchmarks.report import (
    SCHEMA,
    VERSION,
    compare,
    comparison_table,
    read_result,
    summary_table,
)
from benchmarks.workloads import WINDOW, WORKLOADS
from tests.markdown import ROOT

FILES = sorted((ROOT / "benchmarks/results").glob("*.json"))
PAGE = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def row(name, seconds, *, ours=True, spread=0.02):
    summary = {
        "median": seconds,
        "low_quartile": seconds * (1 - spread),
        "high_quartile": seconds * (1 + spread),
    }
    return {"candidate": name, "ours": ours, "status": "measured", "seconds": summary}


def case(*rows, workload="w", peak=100e9):
    return {
        "workload": workload,
        "score": "dot",
        "normalizer": "softmax",
        "dtype": "float32",
        "pass": "forward",
        "rows": list(rows),
        "shapes": {"leading": [2], "T": 4, "S": 4},
        "peak_flops_per_second": peak,
    }


def result(*cases, version="1.0"):
    peers = {"jax_nn": {"version": version}, "torch_sdpa": {"unavailable": "no"}}
    return {"schema": SCHEMA, "version": VERSION, "peers": peers, "cases": list(cases)}


def test_baselines_of_the_same_version_measure_the_machine():
    old = result(case(row("auto", 1.0), row("jax_nn", 2.0, ours=False)))
    new = result(case(row("auto", 2.0), row("jax_nn", 4.0, ours=False)))
    (change,) = compare(old, new)
    assert (change.candidate, change.measured_by) == ("auto", "baselines")
    assert (change.raw, change.machine, change.normalized) == (2.0, 2.0, 1.0)
    assert not change.slower


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_matmul_peak_measures_it_where_no_baseline_can(version):
    baseline = () if version == "1.0" else (row("jax_nn", 9.0, ours=False),)
    old = result(case(row("auto", 1.0), *baseline, peak=100e9))
    new = result(case(row("auto", 2.0), *baseline, peak=50e9), version=version)
    (change,) = compare(old, new)
    found = change.measured_by, change.machine, change.slower
    assert found == ("matmul peak", 2.0, False)


@pytest.mark.parametrize(
    ("seconds", "spread", "slower"),
    [(1.05, 0.01, False), (1.3, 0.02, True), (1.3, 0.2, False), (0.5, 0.02, False)],
)
def test_slower_is_by_more_than_a_tenth_and_the_spread(seconds, spread, slower):
    old = result(case(row("auto", 1.0, spread=spread)))
    (change,) = compare(old, result(case(row("auto", seconds, spread=spread))))
    assert change.slower == slower
    text = comparison_table([change])
    assert f"\n{int(slower)} of 1 slower" in text and ("SLOWER" in text) == slower


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
    assert "no case" in comparison_table([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"bleu": 1}', "is not a benchmark's result"),
        (f'{{"schema": "{SCHEMA}", "version": 99}}', "is of version 99"),
    ],
)
def test_another_file_is_named(text, message, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_result(path)


def test_a_summary_has_a_row_a_case_and_a_column_a_candidate():
    fast = row("a", 0.0123) | {"memory": {"bytes": 2_500_000, "by": "xla"}}
    compiled = {"candidate": "b", "status": "compiled"}
    compiled |= {"memory": {"bytes": 999, "by": "resident"}}
    wrong = row("c", 1.0) | {"status": "wrong"}
    one = case(fast, compiled, wrong) | {"score": "f.py:mine", "normalizer": "sigmoid"}
    assert summary_table({"cases": [one]}).splitlines() == [
        "| case | a | b |",
        "|---|---|---|",
        "| w mine sigmoid forward | 12.3 ms, 2.5 MB | 999 B* |",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_complete_and_the_page_names_it_and_its_versions(path):
    result = read_result(path)
    assert result["complete"]
    assert f"`{path.name}`" in PAGE
    for name, facts in result["peers"].items():
        if name.startswith("torch"):
            assert f"PyTorch {facts['version'].partition('+')[0]} " in WORDS
    assert f"jax {result['environment']['versions']['jax']}," in WORDS


def test_every_table_of_the_page_is_from_a_file():
    tables = re.findall(r"\| case \|.*?(?=\n\n|\Z)", PAGE, re.DOTALL)
    known = {summary_table(read_result(path)) for path in FILES}
    assert tables and set(map(str.strip, tables)) <= known


def test_the_ratios_of_the_page_are_those_of_the_file():
    cases = read_result(ROOT / "benchmarks/results/quick_2cores.json")["cases"]
    seconds = {
        (case["workload"], case["pass"], row["candidate"]): row["seconds"]["median"]
        for case in cases
        for row in case["rows"]
        if "seconds" in row and case["score"] == "scaled_dot"
    }
    rows = re.findall(
        r"^\| `(\w+)` \| (.*) / (.*) \| (.*) / (.*) \|$", PAGE, re.MULTILINE
    )
    assert len(rows) >= 7
    for workload, *printed in rows:
        pairs = [
            (p, w) for p in ("torch_sdpa", "jax_nn") for w in ("forward", "gradient")
        ]
        for (baseline, which), text in zip(pairs, printed, strict=True):
            ratio = (
                seconds[workload, which, baseline] / seconds[workload, which, "auto"]
            )
            digits = 2 if baseline == "torch_sdpa" else 1
            assert text == f"{ratio:.{digits}f}"


def test_the_page_has_the_workloads_and_the_tolerances():
    for workload in WORKLOADS:
        assert f"| `{workload.name}` | {workload.describe()} |" in PAGE
    forward, gradient = TOLERANCES["float32"]
    assert f"more than {forward:.0e} of".replace("e-0", "e-") in WORDS
    assert f"(gradients: {gradient:.0e})".replace("e-0", "e-") in WORDS
    assert f"the {WINDOW} keys before it" in WORDS


def test_every_result_has_a_line_in_the_readme_and_the_command_that_made_it():
    page = (ROOT / "benchmarks/README.md").read_text("utf-8")
    for path in sorted((ROOT / "benchmarks/results").rglob("*.json")):
        assert f"`{path.relative_to(ROOT / 'benchmarks')}`" in page
        stored = json.loads(path.read_text("utf-8"))
        command = [one for one in stored["command"][3:] if "=docs/" not in one]
        command = [one for one in command if not one.startswith("--output=")]
        assert " ".join(command) in page, path.name
        assert f"`{stored['environment']['commit'][:7]}`" in page


def test_the_training_page_has_the_figures_of_its_file():
    file = ROOT / "benchmarks/results/training/step_2cores.json"
    page = (ROOT / "docs/training.md").read_text("utf-8")
    for name, row in json.loads(file.read_text("utf-8"))["steps"].items():
        [line] = [one for one in page.splitlines() if one.startswith(f"| {name}")]
        cells = [cell.strip() for cell in line.split("|")[2:6]]
        assert cells == [
            f"{row['seconds']['median']:.3f} s",
            f"{row['ratio']:.2f}",
            f"{row['target_tokens_per_second']:,.0f}",
            f"{row['peak_fraction']:.0%}".replace("%", " %"),
        ]


def test_the_decoding_page_has_the_figures_of_its_file():
    file = ROOT / "benchmarks/results/decoding/decoding_2cores.json"
    result = json.loads(file.read_text("utf-8"))
    page = (ROOT / "docs/decoding.md").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = {(row["search"], row["toolkit"]): row for row in result["rows"]}
    for search in dict.fromkeys(search for search, _ in rows):
        ours, theirs = rows[search, "attention_jax"], rows[search, "JoeyNMT"]
        speed, ratio = f"{ours['sentences_per_second']:,.0f}", f"{theirs['ratio']:.1f}"
        cells = [
            search,
            speed,
            f"{theirs['sentences_per_second']:,.0f}",
            ratio,
            f"{ours['words']:,.0f}",
            f"{theirs['words']:,.0f}",
        ]
        assert f"| {' | '.join(cells)} |" in page
        if search in ("greedy", "beam 5"):
            assert speed in readme and ratio in readme
    assert f"{result['sentences']:,} test sentences" in page
