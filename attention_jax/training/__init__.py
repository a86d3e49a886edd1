"""Training: loss, optimiser, step, loop, checkpoints and the run directory."""

from attention_jax.training.checkpoint_reading import load_params
from attention_jax.training.ending import TrainResult
from attention_jax.training.optimizer import register_schedule, schedules
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.start import train

__all__ = [
    "RunDirectory",
    "TrainResult",
    "load_params",
    "register_schedule",
    "schedules",
    "train",
]
