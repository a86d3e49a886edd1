"""The result files, their tables, and the pages that quote them."""

import json
import re

import pytest

from benchmarks.harness import TOLERANCES
from benchmarks.report import SCHEMA, read_result, summary_table
from benchmarks.workloads import WINDOW, WORKLOADS
from tests.markdown import ROOT

FILES = sorted((ROOT / "benchmarks/results").glob("*.json"))
PAGE = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ('{"bleu": 1}', "is not a benchmark's result of version 1"),
        (f'{{"schema": "{SCHEMA}", "version": 99}}', "is not a benchmark"),
    ],
)
def test_another_file_is_named(text, message, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_result(path)


def test_a_summary_has_a_row_a_case_and_a_column_a_candidate():
    fast = {"candidate": "a", "status": "measured", "seconds": {"median": 0.0123}}
    fast |= {"memory": {"bytes": 2_500_000, "by": "xla"}}
    compiled = {"candidate": "b", "status": "compiled"}
    compiled |= {"memory": {"bytes": 999, "by": "resident"}}
    wrong = fast | {"candidate": "c", "status": "wrong"}
    one = {"workload": "w", "score": "f.py:mine", "normalizer": "sigmoid"}
    one |= {"dtype": "float32", "pass": "forward", "rows": [fast, compiled, wrong]}
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
        # Of these there are 75, by one rule.
        name = "heads_BH_T_mask" if "heads" in workload.tags else workload.name
        what = "" if "heads" in workload.tags else f" {workload.describe()} |"
        assert f"| `{name}` |{what}" in PAGE
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
