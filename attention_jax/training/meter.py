"""Sums the steps' metrics between two lines of the log."""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from attention_jax.training.step import StepMetrics


class NonFiniteLossError(ValueError):
    """The loss or the gradient of a step was infinite or not a number.

    Attributes:
      what: "loss" or "gradient". step: which update. value: nan, inf or -inf.
    """

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


NO_SUMS = MeterSums()


class Meter:
    """Adds up the metrics of steps, each read one step late.

    Reading a metric waits for its step. Reading that of step n − 1 after step n has been
    dispatched keeps the device busy.
    """

    def __init__(self, sums: MeterSums = NO_SUMS):
        self._pending: tuple[int, StepMetrics] | None = None
        self.restart(sums)

    def restart(self, sums: MeterSums = NO_SUMS) -> None:
        """Goes on from `sums`, by default from nothing, and counts time from now."""
        self._sums = sums
        self._since = time.perf_counter()

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Takes the metrics of update number `step`, and reads those of the one before.

        Raises:
          NonFiniteLossError: those were infinite or not a number.
        """
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Reads what is pending, waiting for the device."""
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        norm = float(metrics.gradient_norm)
        objective, cross_entropy, correct, tokens = map(float, metrics.sums)
        for name, value in (("loss", objective), ("gradient", norm)):
            if not math.isfinite(value):
                raise NonFiniteLossError(name, step, value)
        self._sums = self._sums._replace(
            objective=self._sums.objective + objective,
            cross_entropy=self._sums.cross_entropy + cross_entropy,
            correct=self._sums.correct + correct,
            tokens=self._sums.tokens + tokens,
            largest_norm=max(self._sums.largest_norm, norm),
        )

    def read(self) -> MeterSums:
        """The sums up to now, for `restart` to go on from; waits for the device."""
        self._stop_clock()
        return self._sums

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock for work that is not training; waits for the device first."""
        self._stop_clock()
        yield
        self._since = time.perf_counter()

    def _stop_clock(self) -> None:
        self.flush()
        now = time.perf_counter()
        seconds = self._sums.seconds + now - self._since
        self._sums = self._sums._replace(seconds=seconds)
        self._since = now

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
