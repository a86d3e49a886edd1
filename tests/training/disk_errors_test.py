"""What is kept quiet while a failed write is told, and what is not."""

import logging
import sys
import types

import pytest

from attention_jax.training.disk_errors import QuietWriters


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), False),
        (RuntimeError("cannot schedule new futures after shutdown"), False),
        (RuntimeError("cannot schedule new futures after interpreter shutdown"), False),
        (RuntimeError("a bug"), True),
        (None, True),
    ],
)
def test_only_what_follows_from_a_failed_write_is_kept_quiet(error, told, caplog):
    logger = logging.getLogger("absl")
    quiet = QuietWriters()
    quiet.start()
    try:
        logger.error("from a thread", exc_info=error)
    finally:
        quiet.stop()
    assert bool(caplog.records) == told
    logger.error("afterwards", exc_info=error)
    assert caplog.records[-1].message == "afterwards"


def test_the_interpreter_s_reports_are_filtered_while_it_writes(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    late = types.SimpleNamespace(exc_value=RuntimeError("Event loop is closed"))
    quiet = QuietWriters()
    quiet.start()
    sys.unraisablehook(late)
    assert not told
    quiet.stop()
    sys.unraisablehook(late)
    assert told == [late]
