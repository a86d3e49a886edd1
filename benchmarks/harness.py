"""The benchmark: every candidate of every case is checked, then all are timed in turns."""

import dataclasses
import gc
import importlib
import importlib.metadata
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, explain_attention
from attention_jax.errors import first_line
from attention_jax.training.run_directory import environment
from benchmarks import report, timing
from benchmarks.candidates import (
    BASELINES,
    OUTPUTS,
    Candidate,
    Prepared,
    Unsupported,
    attention_with,
)
from benchmarks.workloads import GRADIENT, Case, Inputs, Workload, make_inputs

# Largest error over largest expected magnitude, (forward, gradient).
TOLERANCES = {
    "float64": (1e-10, 1e-9),
    "float32": (1e-4, 5e-4),
    "bfloat16": (4e-2, 8e-2),
    "float16": (5e-3, 1e-2),
}
# Accelerators multiply float32 matrices with fewer bits unless told otherwise.
ACCELERATOR_FLOAT32 = (5e-3, 2e-2)
# Up to here the expected results are computed by `reference`, by `chunked` beyond.
REFERENCE_BYTES = 256 * 2**20
# Up to here they are computed in float64, in float32 beyond.
FLOAT64_FLOPS = 2e9


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure, and how long; the fields are the program's flags."""

    workloads: tuple[Workload, ...]
    implementations: tuple[str, ...]
    # () takes each workload's own.
    scores: tuple[str, ...] = ()
    normalizers: tuple[str, ...] = ("softmax",)
    # One that a workload does not have is left out.
    passes: tuple[str, ...] = ("forward", "gradient")
    dtypes: tuple[str, ...] = ("float32",)
    baselines: tuple[str, ...] = ()
    repeats: int = 10
    max_seconds: float = 60.0
    # Bytes that one candidate may need.
    budget: int = 4 * 2**30
    relative_to: str = "auto"

    def cases(self) -> list[Case]:
        """Everything to compute, in order."""
        return [
            Case(workload, score, normalizer, dtype, which)
            for workload in self.workloads
            for score in self.scores or workload.scores
            for normalizer in self.normalizers
            for dtype in self.dtypes
            for which in self.passes
            if which in workload.passes
        ]


def benchmark(
    plan: Plan,
    *,
    command: Sequence[str] = (),
    log: Callable[[str], None] = lambda line: None,
    save: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Measures a plan.

    `log` is given a line when a case begins or a baseline is left out, `save` the result so
    far after every case. Returns JSON values only, as `report` describes them.
    """
    available = {name: attention_with(name) for name in plan.implementations}
    found = {}
    for name in plan.baselines:
        package, prepare = BASELINES[name]
        try:
            importlib.import_module(package)
            found[name] = {"version": importlib.metadata.version(package)}
            available[name] = prepare
        # A broken installation raises anything.
        except Exception as error:  # noqa: BLE001
            found[name] = {"unavailable": _reason(error)}
            log(f"{name} is left out: {_reason(error)}")
    result: dict[str, Any] = {
        "schema": report.SCHEMA,
        "version": report.VERSION,
        "complete": False,
        "command": list(command),
        "environment": {**environment(), "cpus": os.cpu_count()},
        "peers": found,
        "settings": {
            "repeats": plan.repeats,
            "max_seconds": plan.max_seconds,
            "budget_bytes": plan.budget,
            "baseline": plan.relative_to,
        },
        "cases": [],
    }
    cases = plan.cases()
    for number, case in enumerate(cases, 1):
        log(f"{number}/{len(cases)} {report.case_name(case.key())}")
        result["cases"].append(measure_case(case, available, plan))
        result["complete"] = number == len(cases)
        save(result)
    return result


def measure_case(
    case: Case, candidates: dict[str, Candidate], plan: Plan
) -> dict[str, Any]:
    """Prepares, checks and times every candidate; nothing that one does ends the others."""
    rows, runs = {}, {}
    with jax.enable_x64(case.dtype == "float64"):
        inputs = make_inputs(case)
        right = expected(case, inputs)
        for name, candidate in candidates.items():
            rows[name] = {"candidate": name, "ours": name in plan.implementations}
            try:
                prepared = candidate(case, inputs, plan.budget)
                rows[name] |= _checked(case, prepared, right)
            except (Unsupported, NotImplementedError) as error:
                rows[name] |= {
                    "status": report.UNSUPPORTED,
                    "reason": first_line(error),
                }
            # Whatever a library raises is its row, and ends no other's.
            except Exception as error:  # noqa: BLE001
                rows[name] |= {"status": report.FAILED, "reason": _reason(error)}
            else:
                if rows[name]["status"] == report.MEASURED:
                    runs[name] = prepared.run
        del right
        gc.collect()
        samples, failures = timing.interleave(
            runs, repeats=plan.repeats, max_seconds=plan.max_seconds
        )
    for name, error in failures.items():
        rows[name] |= {"status": report.FAILED, "reason": _reason(error)}
    first = next(iter(samples), None)
    baseline = plan.relative_to if plan.relative_to in samples else first
    for name, seconds in samples.items():
        rows[name]["seconds"] = timing.summarize(seconds)
        rows[name]["ratio"] = timing.ratio(seconds, samples[baseline or name])
    return {
        **case.key(),
        "shapes": case.workload.describe(),
        "tolerance": tolerance(case),
        "baseline": baseline,
        "rows": list(rows.values()),
    }


def _checked(case: Case, prepared: Prepared, right: Any) -> dict[str, Any]:
    """A candidate's row before timing."""
    error, where = largest_error(prepared.read(prepared.run()), right)
    finite = math.isfinite(error)
    row = {
        "status": report.MEASURED,
        "compile_seconds": prepared.compile_seconds,
        "memory": {"bytes": prepared.temporary_bytes, "by": "xla"},
        # JSON has no infinity.
        "error": error if finite else None,
    }
    if error > tolerance(case):
        reason = f"off by {error:.1e}, more than {tolerance(case)}"
        reason = f"the {where} is {reason if finite else 'not finite'}"
        row |= {"status": report.WRONG, "reason": reason}
    return row


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def tolerance(case: Case) -> float:
    """The largest relative error of a case that passes."""
    forward, gradient = TOLERANCES[case.dtype]
    if case.dtype == "float32" and jax.default_backend() != "cpu":
        forward, gradient = ACCELERATOR_FLOAT32
    return gradient if case.which == GRADIENT else forward


def expected(case: Case, inputs: Inputs) -> dict[str, np.ndarray]:
    """The right results: "context", and for gradients "query", "keys" and "values".

    At full precision, in float64 where that is cheap; by `reference`, or by `chunked`,
    which the tests hold to it, where the weights would take too much memory.
    """
    options: dict[str, Any] = {
        "score": case.score,
        "normalizer": case.normalizer,
        "mask": inputs.mask(case),
        "implementation": "reference",
    }
    arrays = (inputs.query, inputs.keys, inputs.values)
    needed = explain_attention(*arrays, params=inputs.params, **options)
    double = case.dtype == "float64" or needed.flops <= FLOAT64_FLOPS
    dtype = "float64" if double else "float32"
    with jax.enable_x64(double), jax.default_matmul_precision("highest"):
        *data, cotangent = (jnp.asarray(a, dtype) for a in (*arrays, inputs.cotangent))
        options["params"] = {n: jnp.asarray(p, dtype) for n, p in inputs.params.items()}
        if needed.intermediate_bytes > REFERENCE_BYTES:
            options["implementation"] = "chunked"

        def attend(*data: Any) -> Any:
            return attention(*data, **options).context

        if case.which != GRADIENT:
            return {"context": np.asarray(attend(*data))}
        context, pull = jax.vjp(attend, *data)
        results = (context, *pull(cotangent))
        return dict(zip(OUTPUTS, map(np.asarray, results), strict=True))


def largest_error(
    actual: dict[str, np.ndarray], right: dict[str, np.ndarray]
) -> tuple[float, str]:
    """The largest error relative to the largest expected magnitude, and of which output."""
    errors = {"context": 0.0}
    for name, answer in right.items():
        answer = answer.astype(np.float64)
        difference = np.abs(actual[name].astype(np.float64) - answer)
        scale = max(np.max(np.abs(answer), initial=0.0), np.finfo(float).tiny)
        error = float(np.max(difference, initial=0.0) / scale)
        errors[name] = error if np.isfinite(error) else float("inf")
    where = max(errors, key=errors.__getitem__)
    return errors[where], where
