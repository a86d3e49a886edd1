"""Tables of figures: drawn on a terminal, plain columns in a pipe or a file."""

import sys
from collections.abc import Sequence
from typing import TextIO

# What a cell that holds a figure, or none, begins with.
_FIGURE = ("", "–", "-", *"0123456789")


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


def print_columns(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str,
    file: TextIO | None = None,
) -> None:
    """Prints a table with a head; cells of figures stand to the right.

    In a pipe as `print_table` does. On a terminal too narrow for the table its rows stand
    side by side, as many as fit, with a line for each column.
    """
    file = sys.stdout if file is None else file
    right = _numeric(head, rows)
    if file.isatty():
        _draw_columns(head, rows, right, title, file)
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print(title, file=file)
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=file)


def _draw_columns(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    title: str,
    file: TextIO,
) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)

    def draw(head: Sequence[str], rows: Sequence[Sequence[str]], right) -> None:
        table = Table(title=Text(title), title_justify="left")
        for name, numeric in zip(head, right, strict=True):
            table.add_column(
                Text(name), justify="right" if numeric else "left", overflow="fold"
            )
        for row in rows:
            # Text: brackets in a cell are no markup.
            table.add_row(*map(Text, row))
        console.print(table)

    def width(column: Sequence[str]) -> int:
        # A blank on either side, and a line.
        return max(map(cell_len, column)) + 3

    if sum(map(width, zip(head, *rows, strict=True))) < console.width:
        draw(head, rows, right)
        return
    shown, room = [], console.width - 1 - width(head)
    for row in rows:
        if shown and sum(map(width, [*shown, row])) > room:
            _draw_beside(draw, head, shown)
            shown = []
        shown.append(row)
    _draw_beside(draw, head, shown)


def _draw_beside(draw, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The table turned over: a line a column, a column a row."""
    names, *lines = zip(head, *rows, strict=True)
    draw(names, lines, [False] + [True] * len(rows))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    right = _numeric(head, rows)
    rules = ["---:" if numeric else "---" for numeric in right]
    # A bar would end the cell.
    lines = [
        " | ".join(cell.replace("|", "\\|") for cell in row)
        for row in (head, rules, *rows)
    ]
    return "".join(f"| {line} |\n" for line in lines)


def _numeric(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns hold figures, dashes and nothing else."""
    columns = zip(*rows, strict=True) if rows else [()] * len(head)
    return [
        any(column) and all(cell[:1] in _FIGURE for cell in column)
        for column in columns
    ]
