"""Run times that compare, interleaved in balanced order; matmul peak; memory of one call."""

import ctypes
import functools
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

# One sample repeats a fast candidate until it takes about this long.
SAMPLE_SECONDS = 0.02
MOST_CALLS = 2000
# Threads of one library's pool that still spin would slow the next library down.
PAUSE_SECONDS = 0.005
FEWEST_ROUNDS = 3
PEAK_SIZES = (1024, 2048)
PEAK_REPEATS = 4


def round_orders(candidates: int, rounds: int) -> list[list[int]]:
    """The order of the candidates in each round: a Williams design.

    Over `candidates` rounds (twice as many if their number is odd) each candidate is
    equally often at each position, and directly after each other one equally often. Merely
    rotating the order would keep everyone's predecessor.
    """
    # 0, 1, n-1, 2, n-2, ...
    first = [0]
    for low in range(1, candidates // 2 + 1):
        first += dict.fromkeys((low, candidates - low))
    orders = []
    for number in range(rounds):
        order = [(one + number) % candidates for one in first[:candidates]]
        # An odd design is balanced together with its mirror image.
        mirrored = candidates % 2 and (number // candidates) % 2
        orders.append(order[::-1] if mirrored else order)
    return orders


def calls_per_sample(run: Callable[[], Any]) -> int:
    """The number of calls that makes one sample long enough for the clock; warms up."""
    run()
    started = time.perf_counter()
    run()
    seconds = max(time.perf_counter() - started, 1e-7)
    return max(1, min(MOST_CALLS, round(SAMPLE_SECONDS / seconds)))


def sample(run: Callable[[], Any], calls: int) -> float:
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

    Args:
      runs: what to call, by candidate; warmed up here.
      repeats: rounds.
      max_seconds: no round begins after this long, once there were FEWEST_ROUNDS.

    Returns:
      samples by candidate, sample i of each taken in the same round; a candidate that
      raised has none, and its exception is in the second dictionary.
    """
    failures: dict[str, Exception] = {}
    calls = {}
    for name, run in runs.items():
        try:
            calls[name] = calls_per_sample(run)
        # Out of memory has as many types as there are libraries.
        except Exception as error:  # noqa: BLE001
            failures[name] = error
    names = list(calls)
    samples: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    for number, order in enumerate(round_orders(len(names), repeats)):
        elapsed = time.perf_counter() - started
        if number >= FEWEST_ROUNDS and elapsed > max_seconds:
            break
        for name in (names[i] for i in order):
            if name in failures:
                continue
            try:
                samples[name].append(sample(runs[name], calls[name]))
            except Exception as error:  # noqa: BLE001
                failures[name] = error
    return {n: s for n, s in samples.items() if n not in failures}, failures


def summarize(samples: list[float]) -> dict[str, Any]:
    """Median, quartiles, minimum and the samples themselves, in seconds."""
    # Quartiles need two samples.
    quartiles = samples if len(samples) > 1 else samples * 2
    low, _, high = statistics.quantiles(quartiles, n=4, method="inclusive")
    return {
        "median": statistics.median(samples),
        "low_quartile": low,
        "high_quartile": high,
        "min": min(samples),
        "samples": samples,
    }


def ratio(samples: list[float], baseline: list[float]) -> float:
    """The median over rounds of this candidate's time over the baseline's."""
    pairs = zip(samples, baseline, strict=True)
    return statistics.median(one / other for one, other in pairs)


@functools.cache
def _matmul(size: int, dtype: str) -> Callable[[], Any]:
    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    matrix = matrix.astype(dtype)
    compiled = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    compiled(matrix, matrix).block_until_ready()
    return lambda: compiled(matrix, matrix).block_until_ready()


def matmul_peak(dtype: str = "float32") -> float:
    """FLOP/s of the best of several square matmuls: what this machine reaches now."""
    best = 0.0
    for size in PEAK_SIZES:
        run = _matmul(size, dtype)
        seconds = min(sample(run, 1) for _ in range(PEAK_REPEATS))
        best = max(best, 2 * size**3 / seconds)
    return best


def resident_growth(run: Callable[[], Any]) -> int | None:
    """Bytes of memory that one call makes resident at its peak, results included.

    Works for any library on Linux on the CPU; None elsewhere. What the allocators still
    hold from earlier calls is handed back first, as far as they allow.
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        ctypes.CDLL(None).malloc_trim(0)
        before = _status_bytes("VmRSS")
        # Resets the peak (VmHWM) to what is resident now.
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        result = run()
        peak = _status_bytes("VmHWM")
        del result
    except (OSError, AttributeError, KeyError):
        return None
    return max(peak - before, 0)


def _status_bytes(field: str) -> int:
    text = pathlib.Path("/proc/self/status").read_text()
    values = dict(line.split(":", 1) for line in text.splitlines())
    return int(values[field].split()[0]) * 1024
