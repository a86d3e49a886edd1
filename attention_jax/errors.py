"""The exception class for a user's mistake, and which line of a user's file an error is from."""

import contextlib
import difflib
import functools
import os
import pathlib
import sysconfig
import traceback
from collections.abc import Iterable, Iterator


class UserError(ValueError):
    """What was given cannot be used; the message names it and says what to give instead.

    Programs print the message as one line and exit with status 2. Any other exception is a
    fault of ours and keeps its traceback.
    """


class UnknownNameError(UserError, LookupError):
    """A name that no table entry has; the message lists the known ones."""


class DuplicateNameError(UserError):
    """A name already taken by a different function."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among `known`, with the nearest match."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(
        f"unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}."
    )


def is_user_file(file: str | os.PathLike[str]) -> bool:
    """Whether a source file is the user's: not this package's, Python's or a library's."""
    path = pathlib.Path(file)
    if not path.is_absolute() or {"site-packages", "dist-packages"} & {*path.parts}:
        return False  # "<string>" and "<frozen importlib._bootstrap>" are not absolute.
    return not any(folder in path.parents for folder in _library_folders())


@functools.cache
def _library_folders() -> tuple[pathlib.Path, ...]:
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    return pathlib.Path(__file__).parent, *map(pathlib.Path, installed)


def error_location(error: BaseException, *, file: str | os.PathLike[str] = "") -> str:
    """`in line 3 of mine.py`, the innermost line of a user's file that `error` came through.

    Args:
      error: an exception just caught; a SyntaxError's line is the one it complains about.
      file: one that the message names anyway: `in line 3` is enough for it.

    Returns:
      "" if the error came through no file of the user's.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        found = [(error.filename, error.lineno)]
    else:
        frames = traceback.extract_tb(error.__traceback__)
        found = [(f.filename, f.lineno) for f in frames if is_user_file(f.filename)]
    if not found:
        return ""
    path, line = pathlib.Path(found[-1][0]), found[-1][1]
    if file and path == pathlib.Path(file):
        return f"in line {line}"
    here = pathlib.Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"in line {line} of {shown}"


def format_error(error: BaseException, *, file: str | os.PathLike[str] = "") -> str:
    """`ValueError in line 3 of mine.py: message`; `file` as for `error_location`."""
    where, message = error_location(error, file=file), first_line(error)
    return f"{type(error).__name__}{where and ' '}{where}{message and ': '}{message}"


def first_line(error: BaseException) -> str:
    """The first line of the error's message; jax's go on for many."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return message.strip().split("\n", 1)[0]


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """A block whose errors about what was given begin with `name: `, as UserErrors."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        message = f"{name}: {error.args[0] if error.args else error}"
        kind = UnknownNameError if isinstance(error, UnknownNameError) else UserError
        raise kind(message) from error
