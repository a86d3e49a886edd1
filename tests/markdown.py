"""Code blocks of the Markdown pages."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Every `python -m experiments.…` line of a page's shell blocks."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in lines if "-m experiments." in line]


def prose(page: str) -> list[tuple[int, str]]:
    """Number and text of each line outside of tables and blocks of code."""
    lines, inside = [], False
    text = (ROOT / page).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and not line.startswith(("|", "    ")):
            lines.append((number, line))
    return lines
