"""What a run measures of itself: sums over steps."""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from attention_jax.errors import UserError
from attention_jax.training.step import StepMetrics


class NonFiniteLossError(UserError):
    """The loss or the gradient (`what`) of a step was infinite or NaN (`value`)."""

    def __init__(self, what: str, step: int, value: float, hint: str = ""):
        super().__init__(f"the {what} of step {step} is {value}{hint}")
        self.what, self.step, self.value = what, step, value


class MeterSums(NamedTuple):
    """What a meter has added up since it was last restarted."""

    objective: float = 0.0
    cross_entropy: float = 0.0
    correct: float = 0.0
    tokens: float = 0.0
    largest_norm: float = 0.0
    seconds: float = 0.0


class Meter:
    """Adds up the metrics of steps, each read one step late.

    Reading a metric waits for its step. Reading that of step n − 1 after step n has been
    dispatched keeps the device busy.
    """

    def __init__(self, sums: MeterSums = MeterSums()):  # noqa: B008 - immutable
        self._pending: tuple[int, StepMetrics] | None = None
        self._sums, self._since = sums, time.perf_counter()

    def restart(self) -> None:
        """Forgets the sums and counts time from now."""
        self._sums, self._since = MeterSums(), time.perf_counter()

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Takes the metrics of update number `step`, and reads those of the one before.

        Raises:
          NonFiniteLossError: those were infinite or NaN.
        """
        self._flush()
        self._pending = (step, metrics)

    def _flush(self) -> None:
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        norm = float(metrics.gradient_norm)
        sums = [float(value) for value in metrics.sums]
        for name, value in (("loss", sums[0]), ("gradient", norm)):
            if not math.isfinite(value):
                raise NonFiniteLossError(name, step, value)
        *old, largest, seconds = self._sums
        totals = [before + new for before, new in zip(old, sums, strict=True)]
        self._sums = MeterSums._make([*totals, max(largest, norm), seconds])

    def read(self) -> MeterSums:
        """The sums up to now, for another meter to go on from; waits for the device."""
        self._flush()
        now = time.perf_counter()
        seconds = self._sums.seconds + now - self._since
        self._sums, self._since = self._sums._replace(seconds=seconds), now
        return self._sums

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock for work that is not training; waits for the device first."""
        self.read()
        yield
        self._since = time.perf_counter()

    def report(self) -> dict[str, Any]:
        """The means since the last `restart`, per target token."""
        sums = self.read()
        tokens = max(sums.tokens, 1.0)
        return {
            "loss": sums.objective / tokens,
            "cross_entropy": sums.cross_entropy / tokens,
            "accuracy": sums.correct / tokens,
            "gradient_norm": sums.largest_norm,
            "tokens_per_second": sums.tokens / sums.seconds,
        }
