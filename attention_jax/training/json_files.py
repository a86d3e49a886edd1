"""JSON files that a kill at any moment leaves whole, and JSON lines that it may cut."""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from attention_jax.whole_files import cannot_write, write_text


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` readably, replacing the file in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """The file's value.

    Raises:
      ValueError: the file is not JSON; names the file and the line.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}: not JSON: {error.msg}"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: damaged, nested too deeply") from error
    except ValueError as error:
        # As of a number with thousands of digits.
        raise ValueError(f"{path}: damaged: {error}") from error


def append_lines(path: pathlib.Path, values: Iterable[Any]) -> None:
    """Adds one JSON line for each value, on the disk when this returns.

    Raises:
      OSError: they cannot be written; names the file and the reason. The last line may
        then be cut, which `read_lines` allows for.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_lines(values))
            file.flush()
            # A checkpoint that is saved next must not outlive the lines before it.
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def read_lines(path: pathlib.Path) -> list[Any]:
    """The values of a file of JSON lines, [] if there is none.

    A last line without its newline is one that a kill cut short, and is left out.

    Raises:
      ValueError: another line is not JSON; names the file and the line.
    """
    if not path.is_file():
        return []
    values = []
    for number, line in enumerate(path.read_text("utf-8").split("\n")[:-1], 1):
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error.msg}") from error
    return values


def drop_lines_after(path: pathlib.Path, step: int) -> None:
    """Keeps the lines whose `step` is at most `step`."""
    kept = [line for line in read_lines(path) if line["step"] <= step]
    if path.is_file():
        write_text(path, _lines(kept))


def _lines(values: Iterable[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
