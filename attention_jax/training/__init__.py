"""Training: loss, optimiser, step, loop, checkpoints and the run directory."""

import importlib
from typing import Any

# Imported on first use: a program that only looks into run directories needs no optax.
_LATE = {
    "RunDirectory": "run_directory",
    "TrainResult": "loop",
    "load_params": "checkpoints",
    "register_schedule": "optimizer",
    "schedules": "optimizer",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
