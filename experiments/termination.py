"""SIGTERM as a wish: what pre-empts a job sends it some time before SIGKILL."""

import signal
import types
from typing import Self

# The exit status by which a shell knows that SIGTERM ended a program.
EXIT_STATUS = 128 + signal.SIGTERM


class Termination:
    """Whether SIGTERM came; a context manager that listens while it is entered."""

    def __init__(self):
        self._asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def __call__(self) -> bool:
        """Whether it came."""
        return self._asked

    def _ask(self, number: int, frame: types.FrameType | None) -> None:
        del number, frame
        self._asked = True
