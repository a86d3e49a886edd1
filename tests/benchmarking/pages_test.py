"""The tables of figures in the documentation are what the benchmarks' files say."""

import re

import pytest

from attention_jax.benchmarking.gate import TOLERANCES
from attention_jax.benchmarking.report import summary_lines
from attention_jax.benchmarking.results import read_result
from attention_jax.benchmarking.workload_masks import WINDOW
from attention_jax.benchmarking.workloads import WORKLOADS
from tests.markdown import ROOT

FILES = sorted((ROOT / "experiments/benchmarks").glob("*.json"))
PAGE = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_whole_and_its_table_is_on_the_page(path):
    result = read_result(path)
    assert result["complete"]
    assert f"experiments/benchmarks/{path.name}" in PAGE
    measured = any("seconds" in row for c in result["cases"] for row in c["rows"])
    if measured:
        assert "\n".join(summary_lines(result)) in PAGE
    # The command that made it, for whoever makes it again.
    files = ("--output=", "--figure=")
    flags = [one for one in result["command"][3:] if not one.startswith(files)]
    assert " ".join(flags) in PAGE


def test_every_table_of_the_page_is_from_a_file():
    tables = re.findall(r"\| case \|.*?(?=\n\n|\Z)", PAGE, re.DOTALL)
    known = {"\n".join(summary_lines(read_result(path))) for path in FILES}
    assert tables and set(map(str.strip, tables)) <= known


def test_the_ratios_of_the_page_are_those_of_the_file():
    cases = read_result(ROOT / "experiments/benchmarks/quick_2cores.json")["cases"]
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
        for (peer, which), text in zip(pairs, printed, strict=True):
            ratio = seconds[workload, which, peer] / seconds[workload, which, "auto"]
            digits = 2 if peer == "torch_sdpa" else 1
            assert text == f"{ratio:.{digits}f}"


def test_what_was_measured_and_with_what_is_said():
    for workload in WORKLOADS:
        assert f"| `{workload.name}` | {workload.describe()} |" in PAGE
    forward, gradient = TOLERANCES["float32"]
    assert f"more than {forward:.0e} of".replace("e-0", "e-") in PAGE
    assert f"(gradients: {gradient:.0e})".replace("e-0", "e-") in PAGE
    assert f"the {WINDOW} keys before it" in PAGE
    for path in FILES:
        result = read_result(path)
        assert f"jax {result['environment']['versions']['jax']}," in PAGE
        for peer, facts in result["peers"].items():
            if peer.startswith("torch"):
                version = facts["version"].partition("+")[0]
                assert f"PyTorch {version} " in PAGE
