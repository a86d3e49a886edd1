"""Tables of figures: drawn on a terminal, plain columns in a pipe or a file."""

import sys
from collections.abc import Sequence
from typing import TextIO


def print_table(
    rows: Sequence[Sequence[str]], *, title: str, file: TextIO | None = None
) -> None:
    """Prints rows of equally many cells: a name, a figure, and what belongs beside it.

    In a pipe the cells are separated by at least two spaces and no line is wrapped, so
    that other programs can cut them.
    """
    file = sys.stdout if file is None else file
    if file.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, show_header=False, title_justify="left")
        for number in range(len(rows[0])):
            table.add_column(
                justify="right" if number == 1 else "left", overflow="fold"
            )
        for row in rows:
            # Text: brackets in a cell are no markup.
            table.add_row(*map(Text, row))
        Console(file=file, highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(title, file=file)
    for name, figure, *rest in rows:
        cells = [name.ljust(widths[0]), figure.rjust(widths[1])]
        cells += [cell.ljust(w) for cell, w in zip(rest, widths[2:], strict=True)]
        print("  ".join(cells).rstrip(), file=file)
