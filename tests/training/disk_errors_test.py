"""What is kept quiet while a failed write is told, and what is not."""

import logging

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
