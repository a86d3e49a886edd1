"""Sweeps: several configurations trained and measured one after the other."""

from attention_jax.sweeps.names import name_runs
from attention_jax.sweeps.results import SweepDirectory
from attention_jax.sweeps.runner import Outcome, run_sweep

__all__ = ["Outcome", "SweepDirectory", "name_runs", "run_sweep"]
