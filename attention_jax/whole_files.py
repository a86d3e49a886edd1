"""Files that are replaced as a whole, and the error for those that cannot be written."""

import os
import pathlib
import secrets


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces the file in one step: a reader sees the old text or the new.

    A symbolic link keeps its name and its target is replaced; what is no plain file, as
    /dev/stdout, is written into.

    Raises:
      OSError: it cannot be written; names the file and the reason.
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
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises unless a file could be written there: known before the work for it is done.

    Raises:
      FileNotFoundError: the folder does not exist.
      PermissionError: it cannot be written.
      IsADirectoryError: the path is a folder itself.
    """
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
