"""`jax.jit` for programs that run a few times: little time is spent on making them fast."""

import functools
from collections.abc import Callable
from typing import Any

import jax


def quick_jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with options of its own, and its compiler told to be quick."""
    return jax.jit(function, compiler_options=_quick_options(), **options)


@functools.cache
def _quick_options() -> dict[str, Any] | None:
    """Options that make the CPU's compiler quicker, not its code; None elsewhere."""
    if jax.default_backend() != "cpu":
        return None
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except Exception:  # noqa: BLE001 - another version of the compiler may not know one
        return None
    return options
