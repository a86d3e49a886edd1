"""What programs write: tables on standard output, and files that replace nothing read."""

import os
import pathlib
import types
from collections.abc import Iterable, Mapping, Sequence

import tabulate

from attention_jax.atomic_write import check_writable
from attention_jax.errors import UserError, named
from attention_jax.evaluation.plots import check_path
from attention_jax.training.run_directory import RunDirectory

# What a cell that holds a figure, or none, begins with.
_FIGURE = ("", "–", "-", *"0123456789")


def check_output(path: str | None, flag: str = "output") -> pathlib.Path | None:
    """The file that the flag names, None if it was not given.

    Raises:
      UserError: it could not be written.
    """
    if path is None:
        return None
    if not path:
        raise UserError(f"--{flag} is empty; it takes a file")
    try:
        check_writable(path)
    except OSError as error:
        raise UserError(f"--{flag}: {error}") from error
    return pathlib.Path(path)


def check_picture(path: str, flag: str = "figure") -> None:
    """Raises UserError unless the picture that the flag names could be written."""
    check_output(path, flag)
    with named(f"--{flag}"):
        check_path(path)


def check_apart(
    written: Mapping[str, str | None],
    *,
    read: Mapping[str, str | None] = types.MappingProxyType({}),
    runs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Checks that what is written replaces nothing that is read.

    Args:
      written, read: the files that flags name, by the flags' names.
      runs: directories of runs that are read.

    Raises:
      UserError: two flags name the same file, or one a file of a run or of its data.
    """
    seen: dict[pathlib.Path, str] = {}
    for flag, path in [*read.items(), *written.items()]:
        if path:
            place = pathlib.Path(path).resolve()
            other = seen.setdefault(place, flag)
            # /dev/null and a terminal take any number of files.
            plain = place.is_file() or not place.exists()
            if other != flag and flag in written and plain:
                raise UserError(f"--{other} and --{flag} name the same file: {path!r}")
    for run in map(RunDirectory, runs):
        sources = run.sources()
        for flag, path in written.items():
            if path and (run.owns(path) or pathlib.Path(path).resolve() in sources):
                raise UserError(
                    f"--{flag}={path} is a file of the run in {run.path}, or what it was "
                    "made from"
                )


def print_table(
    rows: Sequence[Sequence[str]], *, title: str, head: Sequence[str] = ()
) -> None:
    """Prints a title and a table of cells that are formatted already.

    Columns of figures are aligned right. Cells are separated by at least two spaces and no
    line is wrapped, so that other programs can cut them.
    """
    columns = zip(*rows, strict=True) if rows else [()] * len(head)
    align = [
        "right" if any(c) and all(cell[:1] in _FIGURE for cell in c) else "left"
        for c in map(tuple, columns)
    ]
    lines = [head, *rows] if head else list(rows)
    print(title)
    print(
        tabulate.tabulate(
            lines, tablefmt="plain", disable_numparse=True, colalign=align
        )
    )
