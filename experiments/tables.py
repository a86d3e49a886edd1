"""Tables as text: aligned columns for a terminal or a pipe, or Markdown."""

import sys
from collections.abc import Sequence
from typing import TextIO

import tabulate

# What a cell that holds a figure, or none, begins with.
_FIGURE = ("", "–", "-", *"0123456789")


def format_table(
    rows: Sequence[Sequence[str]], head: Sequence[str] = (), *, markdown: bool = False
) -> str:
    """A table of cells that are formatted already; columns of figures are aligned right.

    Without `markdown` the cells are separated by at least two spaces and no line is
    wrapped, so that other programs can cut them. A Markdown table has a head.
    """
    lines = [head, *rows] if head else list(rows)
    columns = zip(*rows, strict=True) if rows else [()] * len(head)
    align = [
        "right" if any(c) and all(cell[:1] in _FIGURE for cell in c) else "left"
        for c in map(tuple, columns)
    ]
    if not markdown:
        return tabulate.tabulate(
            lines, tablefmt="plain", disable_numparse=True, colalign=align
        )
    # A bar would end the cell.
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return tabulate.tabulate(
        escaped[1:],
        escaped[0],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align,
    )


def print_table(
    rows: Sequence[Sequence[str]],
    *,
    title: str,
    head: Sequence[str] = (),
    file: TextIO | None = None,
) -> None:
    """Prints a title and the table below it, to stdout by default."""
    print(title, format_table(rows, head), sep="\n", file=file or sys.stdout)
