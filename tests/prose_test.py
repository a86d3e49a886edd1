"""The pages keep to the width and the words of the project."""

import re

import pytest

from tests.markdown import ROOT, prose

PAGES = sorted(
    str(path.relative_to(ROOT))
    for folder in (".", "docs", "docs/api", "experiments", "findings", "benchmarks")
    for path in (ROOT / folder).glob("*.md")
)
# What the field has better words for.
AVOIDED = re.compile(
    r"\b(so many|is no number|is told|filler rows?|brightest|known links?"
    r"|the lecture's|whole numbers?)\b"
)


@pytest.mark.parametrize("page", PAGES)
def test_prose_has_at_most_100_columns(page):
    long = [(n, len(line)) for n, line in prose(page) if len(line) > 100]
    assert not long, f"{page}: (line, columns) {long}"


@pytest.mark.parametrize("page", PAGES)
def test_pages_use_the_words_of_the_field(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not AVOIDED.findall(" ".join(text.split())), page


def test_prose_leaves_out_tables_and_code():
    assert len(PAGES) > 10
    shown = [line for _, line in prose("README.md")]
    assert any(line.startswith("# ") for line in shown)
    assert not any(line.startswith(("|", "```")) for line in shown)


@pytest.mark.parametrize("page", [p for p in PAGES if p != "benchmarks/README.md"])
def test_every_file_that_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = "attention_jax|benchmarks|configs|docs|experiments|findings|tests"
    for name in re.findall(rf"`((?:{folders})/[\w/]+(?:\.\w+|/))", text):
        assert (ROOT / name).exists(), f"{page} names {name}"
