"""Named tables of functions that users extend: scores, normalisers, data sources, …"""

from collections.abc import Callable
from typing import Generic, TypeVar

from attention_jax.errors import DuplicateNameError, unknown_name

T = TypeVar("T")


def _origin(function: Callable) -> tuple[str, str]:
    """Where a function was written: its module and qualified name."""
    return (
        getattr(function, "__module__", "") or "",
        getattr(function, "__qualname__", "") or repr(function),
    )


class Registry(Generic[T]):
    """An ordered table name -> entry.

    Registering the same module and function again replaces the entry, so that a notebook
    cell can be run twice; another function under a taken name is an error.

    Attributes:
      entries: what is registered, by name.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self.entries: dict[str, T] = {}
        self._origins: dict[str, tuple[str, str]] = {}

    def register(self, name: str, entry: T, *, function: Callable) -> T:
        """Adds `entry`, written as `function`, under `name`.

        Raises:
          DuplicateNameError: the name belongs to a function written elsewhere.
        """
        where = _origin(function)
        taken = self._origins.get(name) if name in self.entries else None
        if taken is not None and taken != where:
            raise DuplicateNameError(
                f"the {self.kind} name {name!r} is taken by {':'.join(taken)}; "
                f"{':'.join(where)} needs another name"
            )
        self.entries[name] = entry
        self._origins[name] = where
        return entry

    def get(self, name: str) -> T:
        """The entry called `name`.

        Raises:
          UnknownNameError: there is none; lists the names and the nearest match.
        """
        try:
            return self.entries[name]
        except KeyError:
            raise unknown_name(self.kind, name, self.entries) from None

    def names(self) -> tuple[str, ...]:
        """The names, in the order they were first registered."""
        return tuple(self.entries)
