"""The one exception class for a mistake of the user's, and its two common kinds."""

import contextlib
import difflib
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


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """A block whose errors about what was given begin with `name: `, as UserErrors."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        message = f"{name}: {error.args[0] if error.args else error}"
        kind = UnknownNameError if isinstance(error, UnknownNameError) else UserError
        raise kind(message) from error
