"""A trace of some steps, for Perfetto or TensorBoard."""

import pathlib
from typing import Self

import jax

# Steps left out first: they compile and fill caches.
WARMUP_STEPS = 10


class Profile:
    """Traces `steps` steps of a loop, from its WARMUP_STEPS-th on; 0 traces nothing.

    A context manager: leaving it in the middle of the trace ends the trace. What it writes
    under `path` opens in TensorBoard, and its perfetto_trace.json.gz in Perfetto.
    """

    def __init__(self, path: pathlib.Path, *, first_step: int, steps: int):
        self._path = path
        self._begin = first_step + WARMUP_STEPS
        self._end = self._begin + steps
        self._tracing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """To be called before the step after `step` updates."""
        if step == self._begin and self._end > self._begin:
            jax.profiler.start_trace(self._path, create_perfetto_trace=True)
            self._tracing = True
        elif step == self._end:
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
