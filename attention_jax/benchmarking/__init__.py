"""Benchmarks: named workloads, what is measured on them, how, and what came out."""

from attention_jax.benchmarking.harness import Plan, benchmark
from attention_jax.benchmarking.workloads import (
    Workload,
    select_workloads,
    workload_names,
    workload_tags,
)

__all__ = [
    "Plan",
    "Workload",
    "benchmark",
    "select_workloads",
    "workload_names",
    "workload_tags",
]
