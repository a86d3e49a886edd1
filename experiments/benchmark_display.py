"""Shows a benchmark as it goes: one changing line on a terminal, lines elsewhere; on stderr."""

import sys
from typing import Any, Self, TextIO

_CLEAR_LINE = "\r\x1b[2K"
_WIDTH = 79


class BenchmarkDisplay:
    """A `log` for `benchmark`, used as a context manager."""

    def __init__(self, *, file: TextIO | None = None):
        self._file = sys.stderr if file is None else file
        self._case = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def __call__(self, event: dict[str, Any]) -> None:
        """Shows one event."""
        if event["event"] == "unavailable":
            self.clear()
            self._line(f"{event['peer']} is left out: {event['reason']}")
        elif event["event"] == "case":
            self._case = f"{event['number']}/{event['total']} {event['name']}"
            if not self._file.isatty():
                self._line(self._case)
        elif self._file.isatty():
            text = f"{self._case}: {event['text']}"[:_WIDTH]
            print(_CLEAR_LINE + text, end="", file=self._file, flush=True)

    def clear(self) -> None:
        """Makes room for other output on the same terminal."""
        if self._file.isatty():
            print(_CLEAR_LINE, end="", file=self._file, flush=True)

    def _line(self, text: str) -> None:
        print(text, file=self._file, flush=True)
