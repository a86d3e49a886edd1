"""What each score costs a training step: the same model, with one score or another."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from attention_jax.benchmarking.timing import interleave
from attention_jax.benchmarking.training_speed import (
    Workload,
    compile_step,
    make_batch,
    step_figures,
    stepping,
)
from attention_jax.config import ModelConfig

WITHOUT = "none"


def measure_scores(
    workload: Workload, scores: Sequence[str], *, repeats: int
) -> dict[str, dict[str, Any]]:
    """Times a training step with each score, in turns.

    Args:
      workload: the model, whose score is replaced, and the batch.
      scores: registered names; WITHOUT is the model without attention.
      repeats: rounds of interleaved samples.

    Returns:
      For each: parameters, seconds (median and quartiles), target tokens a second,
      seconds of compiling, temporary bytes, and the ratio of its time to the first's.

    Raises:
      UnknownNameError: no such score.
      ValueError: a score does not fit the model's sizes.
    """
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[[], Any]] = {}
    for name in scores:
        model = _with_score(workload.model, name)
        step = compile_step(workload._replace(model=model))
        runs[name] = stepping(step.compiled, step.state, make_batch(workload))
        rows[name] = {
            "parameters": sum(a.size for a in jax.tree.leaves(step.state.params)),
            "compile_seconds": step.compile_seconds,
            "temporary_bytes": step.compiled.memory_analysis().temp_size_in_bytes,
        }
    samples, failures = interleave(runs, repeats=repeats)
    if failures:
        raise next(iter(failures.values()))
    for name, row in rows.items():
        row |= step_figures(workload, samples[name], samples[scores[0]])
    return rows


def _with_score(model: ModelConfig, name: str) -> ModelConfig:
    if name == WITHOUT:
        return dataclasses.replace(model, attention="none")
    return dataclasses.replace(model, score=name)


def score_rows(rows: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each score, after a head."""
    first = next(iter(rows))
    head = ("score", "median", "quartiles", f"x {first}", "target tokens/s", "compile")
    return [
        head,
        *(
            (
                name,
                f"{row['seconds']['median']:.3f} s",
                (
                    f"{row['seconds']['low_quartile']:.3f}–"
                    f"{row['seconds']['high_quartile']:.3f}"
                ),
                f"{row['ratio']:.2f}",
                f"{row['target_tokens_per_second']:,.0f}",
                f"{row['compile_seconds']:.1f} s",
            )
            for name, row in rows.items()
        ),
    ]
