"""Training: loss, optimiser, step, loop, checkpoints and the run directory."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attention_jax.training.checkpoints import load_params
    from attention_jax.training.loop import TrainResult
    from attention_jax.training.optimizer import register_schedule, schedules
    from attention_jax.training.run_directory import RunDirectory
    from attention_jax.training.trainer import train

# Imported on first use: a program that only looks into run directories needs no optax.
_LATE = {
    "RunDirectory": "run_directory",
    "TrainResult": "loop",
    "load_params": "checkpoints",
    "register_schedule": "optimizer",
    "schedules": "optimizer",
    "train": "trainer",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "RunDirectory",
    "TrainResult",
    "load_params",
    "register_schedule",
    "schedules",
    "train",
]
