"""Sums the steps' metrics between two lines of the log."""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

from attention_jax.training.step import StepMetrics


class NonFiniteLossError(ValueError):
    """The loss or the gradient of a step was infinite or not a number."""


class Meter:
    """Adds up the metrics of steps, each read one step late.

    Reading a metric waits for its step. Reading that of step n − 1 after step n has been
    dispatched keeps the device busy.
    """

    def __init__(self):
        self._pending: tuple[int, StepMetrics] | None = None
        self.restart()

    def restart(self) -> None:
        """Forgets the sums, and counts time from now."""
        self._objective = self._cross_entropy = self._correct = self._tokens = 0.0
        self._largest_norm = 0.0
        self._seconds = 0.0
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
                raise NonFiniteLossError(f"the {name} of step {step} is {value}")
        self._objective += objective
        self._cross_entropy += cross_entropy
        self._correct += correct
        self._tokens += tokens
        self._largest_norm = max(self._largest_norm, norm)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock for work that is not training; waits for the device first."""
        self._stop_clock()
        yield
        self._since = time.perf_counter()

    def _stop_clock(self) -> None:
        self.flush()
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now

    def report(self) -> dict[str, Any]:
        """The means since the last `restart`, per target token."""
        self._stop_clock()
        tokens = max(self._tokens, 1.0)
        return {
            "loss": self._objective / tokens,
            "cross_entropy": self._cross_entropy / tokens,
            "accuracy": self._correct / tokens,
            "gradient_norm": self._largest_norm,
            "tokens_per_second": self._tokens / self._seconds,
        }
