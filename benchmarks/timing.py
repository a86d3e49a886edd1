"""Run times that compare: the candidates take turns, in another order every round."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# One sample repeats a fast candidate until it takes about this long.
SAMPLE_SECONDS = 0.02
MOST_CALLS = 2000
# Threads of one library's pool that still spin would slow the next library down.
PAUSE_SECONDS = 0.005
FEWEST_ROUNDS = 3


def _sample(run: Callable[[], Any], calls: int) -> float:
    """Seconds per call, over `calls` calls."""
    time.sleep(PAUSE_SECONDS)
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def interleave(
    runs: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    max_seconds: float = float("inf"),
) -> tuple[dict[str, list[float]], dict[str, Exception]]:
    """Seconds per call of each candidate in each round, and the exceptions raised.

    Sample i of each candidate is taken in the same round; no round begins after
    `max_seconds`, once there were FEWEST_ROUNDS. A candidate that raised has no samples.
    """
    calls: dict[str, int] = {}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    failures: dict[str, Exception] = {}
    # Balanced over the rounds but for chance: position, and which candidate came before.
    random = np.random.default_rng(0)
    started = time.perf_counter()
    # The first round warms up and finds how often to call.
    for number in range(repeats + 1):
        elapsed = time.perf_counter() - started
        if number > FEWEST_ROUNDS and elapsed > max_seconds:
            break
        for name in random.permutation(list(samples)).tolist():
            try:
                if number == 0:
                    runs[name]()
                    seconds = max(_sample(runs[name], 1), 1e-7)
                    wanted = round(SAMPLE_SECONDS / seconds)
                    calls[name] = max(1, min(MOST_CALLS, wanted))
                else:
                    samples[name].append(_sample(runs[name], calls[name]))
            # Out of memory has as many types as there are libraries.
            except Exception as error:  # noqa: BLE001
                failures[name] = error
                del samples[name]
    return samples, failures


def summarize(samples: list[float]) -> dict[str, Any]:
    """Median, quartiles, minimum and the samples themselves, in seconds."""
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75)).tolist()
    return {
        "median": median,
        "low_quartile": low,
        "high_quartile": high,
        "min": min(samples),
        "samples": samples,
    }


def ratio(samples: list[float], baseline: list[float]) -> float:
    """The median over rounds of this candidate's time over the baseline's."""
    pairs = zip(samples, baseline, strict=True)
    return statistics.median(one / other for one, other in pairs)
