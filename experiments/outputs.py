"""What programs write: tables on standard output, and files that replace nothing read."""

import os
import pathlib
import types
from collections.abc import Iterable, Mapping, Sequence

import tabulate

from attention_jax.atomic_write import check_writable
from attention_jax.errors import UserError
from attention_jax.evaluation.plots import check_path
from attention_jax.training.run_directory import RunDirectory

# What a cell that holds a figure, or none, begins with.
_FIGURE = ("", "–", "-", *"0123456789")


def check_files(
    arguments: types.SimpleNamespace,
    *written: str,
    picture: str = "",
    read: Mapping[str, str | None] = types.MappingProxyType({}),
    runs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Checks that the files of the flags `written` can be, and replace nothing that is read.

    Args:
      arguments: of the command line.
      picture: the flag that names a figure.
      read: files that are read, by the flags that name them.
      runs: directories of runs that are read.

    Raises:
      UserError: a file could not be written, two flags name the same file, or one a file
        of a run or of its data.
    """
    given = {flag: getattr(arguments, flag) for flag in written}
    seen: dict[pathlib.Path, str] = {}
    for flag, path in [*read.items(), *given.items()]:
        if flag in given and path == "":
            raise UserError(f"--{flag} is empty; it takes a file")
        if not path:
            continue
        if flag in given:
            try:
                check_path(path) if flag == picture else check_writable(path)
            except (OSError, UserError) as error:
                raise UserError(f"--{flag}: {error}") from error
        place = pathlib.Path(path).resolve()
        other = seen.setdefault(place, flag)
        # /dev/null and a terminal take any number of files.
        plain = place.is_file() or not place.exists()
        if other != flag and flag in given and plain:
            raise UserError(f"--{other} and --{flag} name the same file: {path!r}")
    for run in map(RunDirectory, runs):
        sources = run.sources()
        for flag, path in given.items():
            if path and (run.owns(path) or pathlib.Path(path).resolve() in sources):
                raise UserError(
                    f"--{flag}={path} is a file of the run in {run.path}, or what it was "
                    "made from"
                )


def print_table(
    title: str,
    rows: Sequence[Sequence[str]],
    head: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Prints a title, a table of cells that are formatted already, and lines below it.

    Columns of figures are aligned right. Cells are separated by at least two spaces and no
    line is wrapped, so that other programs can cut them.
    """
    columns = zip(*rows, strict=True) if rows else [()] * len(head)
    align = [
        "right" if any(c) and all(cell[:1] in _FIGURE for cell in c) else "left"
        for c in map(tuple, columns)
    ]
    lines = [head, *rows] if head else list(rows)
    options = {"disable_numparse": True, "colalign": align}
    table = tabulate.tabulate(lines, tablefmt="plain", **options)
    print(title, table, *notes, sep="\n")
