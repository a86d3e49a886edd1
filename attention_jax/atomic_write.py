"""Files that are replaced in one step: text, JSON and JSON lines, whole after any kill."""

import json
import os
import pathlib
import secrets
from collections.abc import Iterable
from typing import Any

from attention_jax.errors import UserError


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces the file in one step: a reader sees the old text or the new.

    A symbolic link keeps its name and its target is replaced; a pipe or a device, such as
    /dev/stdout, is written into. An OSError names the file and the reason.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """As `write_text`, of bytes."""
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                file.write(data)
        else:
            _replace(path.resolve(), data)
    except OSError as error:
        raise cannot_write(path, error) from error


def _replace(path: pathlib.Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # Not tempfile, whose files are private: this one is to be as readable as any other.
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises an OSError unless a file could be written there, before the work is done."""
    path = pathlib.Path(path)
    folder = str(path.parent)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {folder!r} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {folder!r} cannot be written")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder, not a file")


def cannot_write(what: object, error: OSError, *, hint: str = "") -> OSError:
    """`error` as one that says what could not be written and why, and keeps its number."""
    reason = error.strerror or str(error) or type(error).__name__
    wrapped = type(error)(f"cannot write {what}: {reason}{hint and '; '}{hint}")
    wrapped.errno = error.errno
    return wrapped


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` readably, replacing the file in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """The file's value; a UserError names the file and the line where it is not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not JSON: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        # Not UTF-8, a number with thousands of digits, or nested too deeply.
        raise UserError(f"{path}: damaged: {error}") from error


def append_lines(path: pathlib.Path, values: Iterable[Any]) -> None:
    """Adds one JSON line for each value, on the disk when this returns.

    An OSError names the file; the last line may then be cut, which `read_lines` allows.
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

    A last line without its newline is one that a kill cut short, and is left out. A
    UserError names another line that is not JSON.
    """
    if not path.is_file():
        return []
    values = []
    for number, line in enumerate(path.read_text("utf-8").split("\n")[:-1], 1):
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON: {error.msg}") from error
    return values


def drop_lines_after(path: pathlib.Path, step: int) -> int:
    """Keeps the lines whose `step` is at most `step`; returns the largest step before."""
    lines = read_lines(path)
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            raise UserError(f"{path}, line {number}: not an object with a step")
    if path.is_file():
        write_text(path, _lines(line for line in lines if line["step"] <= step))
    return max((line["step"] for line in lines), default=0)


def _lines(values: Iterable[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
