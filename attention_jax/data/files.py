"""Reading a user's text files, with errors that say which line."""

import difflib
import pathlib


def read_lines(path: str, *, field: str) -> list[str]:
    """The lines of a UTF-8 file, without their ends.

    Only "\\n" and "\\r\\n" end a line; U+2028 and the like are part of it. A byte order
    mark is dropped, and so is the empty piece after a final line end.

    Args:
      path: the file.
      field: the configuration field that named it, for the messages, in full.

    Raises:
      OSError: the file cannot be read; for a missing one the message has the nearest name
        in its folder.
      ValueError: it is not UTF-8; names the line and the byte.
    """
    data = read_bytes(path, field=field)
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    raw = data[start:].split(b"\n")
    if raw[-1] == b"":
        raw.pop()
    lines = []
    for number, line in enumerate(raw, start=1):
        try:
            lines.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            offset = start + error.start
            raise ValueError(
                f"{path}, line {number}: not UTF-8 at byte {offset} of the file "
                f"(0x{line[error.start]:02x}): convert the file, for example with iconv"
            ) from None
        start += len(line) + 1
    return lines


def read_bytes(path: str, *, field: str) -> bytes:
    """The file's bytes, or an OSError that names `field`, the path and what is there."""
    if not path:
        raise ValueError(f"{field} is empty: it must name a file (--{field}=FILE)")
    try:
        return pathlib.Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{field}: no file {path!r}.{_nearest(pathlib.Path(path))}"
        ) from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{field}: {path!r} is a folder, not a file") from None
    except OSError as error:
        raise type(error)(f"{field}: cannot read {path!r}: {error.strerror}") from None


def _nearest(path: pathlib.Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r} either."
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" Did you mean {str(folder / close[0])!r}?" if close else ""
