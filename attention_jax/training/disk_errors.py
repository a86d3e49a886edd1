"""What the checkpoint library makes of a full or failing disk, brought back to one error."""

import gc
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

# How tensorstore ends the message of a failed system call.
_CODE = re.compile(r"os_error_code='(\d+)'")
_SIGNS = ("RESOURCE_EXHAUSTED", "ENOSPC", "No space left", "Error writing")


def disk_error(error: BaseException) -> OSError | None:
    """The system's error behind an exception of the checkpoint library, None if there is none.

    The library raises ValueErrors, and others, around what the system answered.
    """
    text = str(error)
    code = _CODE.search(text)
    if code:
        return OSError(int(code.group(1)), os.strerror(int(code.group(1))))
    if isinstance(error, OSError):
        return error
    if any(sign in text for sign in _SIGNS):
        return OSError(" ".join(text.split()))
    cause = error.__cause__
    return None if cause is None else disk_error(cause)


class QuietWriters:
    """Keeps the checkpoint library's threads from reporting what is about to be raised.

    A failed write is told by the exception that the caller gets. The library's threads log
    it too, with a traceback each; and every write begun beside it then finds its event loop
    closed or its pool shut down, which is reported one by one.
    """

    def __init__(self):
        self._loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]

    def start(self) -> None:
        """Silences them."""
        for logger in self._loggers:
            logger.addFilter(_is_news)
        _ignore_closed_loops()

    def stop(self) -> None:
        """Lets them speak again."""
        for logger in self._loggers:
            logger.removeFilter(_is_news)
        hook = sys.unraisablehook
        if isinstance(hook, _IgnoreClosedLoops) and not hook.for_good:
            sys.unraisablehook = hook.before


class _IgnoreClosedLoops:
    """A `sys.unraisablehook` that passes on all but what finds its event loop closed."""

    def __init__(self, before: Callable[["sys.UnraisableHookArgs"], Any]):
        self.before = before
        self.for_good = False

    def __call__(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self.before(unraisable)


def _ignore_closed_loops() -> _IgnoreClosedLoops:
    hook = sys.unraisablehook
    if not isinstance(hook, _IgnoreClosedLoops):
        hook = sys.unraisablehook = _IgnoreClosedLoops(hook)
    return hook


def _is_news(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return True
    # A write's last thread may wake up when Python is already ending.
    ending = str(error).startswith("cannot schedule new futures after")
    return disk_error(error) is None and not ending


def forget_pending(error: BaseException) -> None:
    """Ends the reads or writes that a failed one left hanging, now and in silence.

    At the interpreter's exit each would complain that it is shutting down. A thread of the
    library may still finish one at any later time, and find its event loop closed.
    """
    before = _ignore_closed_loops()
    before.for_good = True
    sys.unraisablehook = lambda unraisable: None
    try:
        traceback.clear_frames(error.__traceback__)
        gc.collect()
    finally:
        sys.unraisablehook = before
