"""What the machine is and can do: processors, matmul peak, memory of one call."""

import ctypes
import functools
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.training.provenance import environment

PEAK_SIZES = (1024, 2048)
PEAK_REPEATS = 4


def cpu_count() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, "" where the system does not tell."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def machine_facts() -> dict[str, Any]:
    """Versions, commit, device, system and processors."""
    return {**environment(), "cpus": cpu_count(), "cpu": cpu_model()}


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
        for _ in range(PEAK_REPEATS):
            started = time.perf_counter()
            run()
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def resident_growth(run: Callable[[], Any]) -> int | None:
    """How many bytes of memory one call makes resident at its peak, results included.

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
