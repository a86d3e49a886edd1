"""A run's metrics as TensorBoard events: a `log` for `train`."""

import pathlib
from typing import Any, Self

# Metrics that are words, or that are the place and time of the others.
_NOT_DRAWN = {"event", "step"}


class EventFiles:
    """Writes the numbers of each row as scalars called event/name, at its step.

    A context manager, and a `log` for `train`. A resumed run writes a file of its own,
    which tells TensorBoard to forget what an earlier one wrote beyond the step resumed
    from. Nothing is written before the first row.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._writer: Any = None
        self._first_step = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def __call__(self, row: dict[str, Any]) -> None:
        """Writes a row of `train`'s log."""
        if row["event"] == "start":
            self._first_step = row["step"]
        if row["event"] not in ("train", "dev"):
            return
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(
                str(self._path), purge_step=self._first_step + 1, flush_secs=10
            )
        for name, value in row.items():
            if name not in _NOT_DRAWN and isinstance(value, int | float):
                self._writer.add_scalar(f"{row['event']}/{name}", value, row["step"])
