"""What the pages say of results is what the JSON files say."""

import json
import re

import pytest

from tests.markdown import ROOT

RESULTS = sorted((ROOT / "experiments/results").glob("*.json"))
PAGE = (ROOT / "experiments/README.md").read_text(encoding="utf-8")


def figures(path) -> list[str]:
    """BLEU, chrF, exact match, then alignment shares if known, as the tables print them."""
    result = json.loads(path.read_text(encoding="utf-8"))
    printed = [f"{metric['score']:.1f}" for metric in result["metrics"]]
    alignment = result.get("alignment")
    if alignment:
        for words in ("all_words", "words_without_digits"):
            printed.append(f"{100 * alignment[words]['share']:.1f}")
    return printed


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_each_result_is_a_row_of_the_page(path):
    rows = [line for line in PAGE.splitlines() if f"`{path.name}`" in line]
    assert len(rows) == 1, f"experiments/README.md needs one row for {path.name}"
    numbers = re.findall(r"(?<![\w.])\d+\.\d(?!\d)", rows[0].split(f"`{path.name}`")[0])
    assert numbers[: len(figures(path))] == figures(path)


@pytest.mark.parametrize("page", ["README.md", "experiments/README.md", "WORKSPACE.md"])
def test_links_and_images_exist_and_nothing_is_left_to_fill_in(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.findall(
        r"\b[A-Z]{3,}_(?:MINUTES|TABLE)\b|^RESULTS$", text, re.MULTILINE
    )
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (folder / target).exists(), f"{page} links to {target}"
