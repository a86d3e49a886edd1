"""Which line of a user's own file an error came from."""

import functools
import os
import pathlib
import sysconfig
import traceback


def is_users(file: str | os.PathLike[str]) -> bool:
    """Whether a source file belongs to the user: not to this package, Python or a library."""
    path = pathlib.Path(file)
    if not path.is_absolute() or {"site-packages", "dist-packages"} & {*path.parts}:
        return False  # "<string>" and "<frozen importlib._bootstrap>" are not absolute.
    return not any(folder in path.parents for folder in _library_folders())


@functools.cache
def _library_folders() -> tuple[pathlib.Path, ...]:
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    return pathlib.Path(__file__).parent, *map(pathlib.Path, installed)


def place(error: BaseException, *, file: str | os.PathLike[str] = "") -> str:
    """`in line 3 of mine.py`, the innermost line of a user's file that `error` came by.

    Args:
      error: an exception just caught; a SyntaxError's line is the one it complains about.
      file: one that the message names anyway: `in line 3` is enough for it.

    Returns:
      "" if no user's file had part in it.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        found = [(error.filename, error.lineno)]
    else:
        frames = traceback.extract_tb(error.__traceback__)
        found = [(f.filename, f.lineno) for f in frames if is_users(f.filename)]
    if not found:
        return ""
    name, line = found[-1]
    if file and pathlib.Path(name) == pathlib.Path(file):
        return f"in line {line}"
    return f"in line {line} of {_shown(name)}"


def _shown(name: str) -> str:
    """As a user in the current folder would write it."""
    path = pathlib.Path(name)
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def told(error: BaseException, *, file: str | os.PathLike[str] = "") -> str:
    """`ValueError in line 3 of mine.py: message`; `file` as for `place`."""
    where, message = place(error, file=file), first_line(error)
    return f"{type(error).__name__}{where and ' '}{where}{message and ': '}{message}"


def first_line(error: BaseException) -> str:
    """The first line of the error's message; jax's go on for many."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return message.strip().split("\n", 1)[0]
