"""The benchmark: every candidate of every case is checked, then all are timed in turns."""

import contextlib
import dataclasses
import functools
import gc
import importlib
import importlib.metadata
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, explain_attention
from attention_jax.training.provenance import environment
from benchmarks import baselines_jax, baselines_torch, timing
from benchmarks.candidates import (
    OUTPUTS,
    Candidate,
    OverBudget,
    Prepared,
    Unsupported,
    attention_with,
)
from benchmarks.report import (
    COMPILED,
    FAILED,
    MEASURED,
    OVER_BUDGET,
    SCHEMA,
    UNSUPPORTED,
    VERSION,
    WRONG,
)
from benchmarks.workloads import GRADIENT, Case, Inputs, Workload, flops, make_inputs

BASELINES = baselines_jax.BASELINES | baselines_torch.BASELINES

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
# What a process may grow by for other reasons.
GROWTH_NOISE = 8 * 2**20


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
      workloads: which. scores: which, for every workload; () takes each workload's own.
      normalizers, dtypes, passes: which; a pass that a workload does not have is left out.
      implementations: ours. baselines: other libraries'.
      repeats: rounds of interleaved samples; with 0 everything is compiled, nothing run.
      max_seconds: no further round of a case begins after this long, beyond three.
      budget: bytes that one candidate may need.
      relative_to: the candidate that ratios are to.
      seed: of the arrays.
    """

    workloads: tuple[Workload, ...]
    implementations: tuple[str, ...]
    scores: tuple[str, ...] = ()
    normalizers: tuple[str, ...] = ("softmax",)
    passes: tuple[str, ...] = ("forward", "gradient")
    dtypes: tuple[str, ...] = ("float32",)
    baselines: tuple[str, ...] = ()
    repeats: int = 10
    max_seconds: float = 60.0
    budget: int = 4 * 2**30
    relative_to: str = "auto"
    seed: int = 0

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

    Args:
      plan: what.
      command: how the program was called; recorded.
      log: is given a line when a case begins or a baseline is left out.
      save: is given the result so far after every case, "complete" false until the last.

    Returns:
      the result, JSON values only, as `report` describes it.
    """
    candidates = {name: attention_with(name) for name in plan.implementations}
    found = {}
    for name in plan.baselines:
        try:
            importlib.import_module(BASELINES[name].package)
            version = importlib.metadata.version(BASELINES[name].package)
        # A broken installation raises anything.
        except Exception as error:  # noqa: BLE001
            found[name] = {"unavailable": _reason(error)}
            log(f"{name} is left out: {_reason(error)}")
        else:
            found[name] = {"version": version}
            candidates[name] = BASELINES[name].prepare
    cache = getattr(jax.config, "jax_compilation_cache_dir", None)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "complete": False,
        "command": list(command),
        "environment": {**environment(), "cpus": os.cpu_count()},
        "peers": found,
        "settings": {
            "repeats": plan.repeats,
            "max_seconds": plan.max_seconds,
            "budget_bytes": plan.budget,
            "baseline": plan.relative_to,
            "seed": plan.seed,
            # A cache on disk makes compilation seem fast.
            "compilation_cache": bool(cache),
        },
        "cases": [],
    }
    cases = plan.cases()
    for number, case in enumerate(cases, 1):
        log(f"{number}/{len(cases)} {case.name}")
        result["cases"].append(measure_case(case, candidates, plan))
        result["complete"] = number == len(cases)
        save(result)
    return result


def measure_case(
    case: Case, candidates: dict[str, Candidate], plan: Plan
) -> dict[str, Any]:
    """Prepares, checks and times every candidate of one case.

    Nothing that one candidate does ends the others: what it cannot do, what it gets wrong
    and what it needs too much memory for is its row's `status` and `reason`.
    """
    rows, runs = {}, {}
    with _wide_types(case):
        inputs = make_inputs(case, seed=plan.seed)
        right = expected(case, inputs) if plan.repeats else None
        for name, candidate in candidates.items():
            row, prepared = _check(case, inputs, candidate, right, plan.budget)
            rows[name] = {"candidate": name, "ours": name in plan.implementations} | row
            if prepared is not None:
                runs[name] = prepared.run
        del right
        gc.collect()
        peak = timing.matmul_peak(case.dtype)
        samples, failures = timing.interleave(
            runs, repeats=plan.repeats, max_seconds=plan.max_seconds
        )
        peak = max(peak, timing.matmul_peak(case.dtype))
    for name, error in failures.items():
        rows[name] |= {"status": FAILED, "reason": _reason(error)}
    useful = flops(case)
    first = next(iter(samples), None)
    baseline = plan.relative_to if plan.relative_to in samples else first
    for name, seconds in samples.items():
        summary = timing.summarize(seconds)
        rows[name] |= {
            "seconds": summary,
            "ratio": timing.ratio(seconds, samples[baseline or name]),
            "peak_fraction": useful / summary["median"] / peak,
        }
    return {
        **case.key(),
        "shapes": _shapes(case.workload),
        "flops": useful,
        "peak_flops_per_second": peak,
        "tolerance": tolerance(case),
        "baseline": baseline,
        "rows": list(rows.values()),
    }


def _attempt(work: Callable[[], Any]) -> Any:
    """What `work` returns, or the row that says why it does not."""
    try:
        return work()
    except (Unsupported, NotImplementedError) as error:
        return {"status": UNSUPPORTED, "reason": _first_line(error)}
    except OverBudget as error:
        return {"status": OVER_BUDGET, "reason": str(error)}
    # Whatever a library raises is its row, and ends no other's.
    except Exception as error:  # noqa: BLE001
        return {"status": FAILED, "reason": _reason(error)}


def _check(
    case: Case, inputs: Inputs, candidate: Candidate, right: Any, budget: int
) -> tuple[dict[str, Any], Prepared | None]:
    """A candidate's row before timing, and what to time if it passed.

    Without the `right` results the candidate is compiled only.
    """
    prepared = _attempt(functools.partial(candidate, case, inputs, budget))
    if isinstance(prepared, dict):
        return prepared, None
    row = {
        "lowering_seconds": prepared.lowering_seconds,
        "compile_seconds": prepared.compile_seconds,
        "xla": prepared.xla,
    }
    if right is None:
        if prepared.xla is None:
            return {"status": UNSUPPORTED, "reason": "not compiled by XLA"}, None
        memory = {"bytes": prepared.xla.get("temp_bytes", 0), "by": "xla"}
        return row | {"status": COMPILED, "reason": "not run", "memory": memory}, None
    found = _attempt(lambda: largest_error(prepared.read(prepared.run()), right))
    if isinstance(found, dict):
        return found, None
    error, where = found
    # JSON has no infinity.
    row["error"] = error if math.isfinite(error) else None
    if error > tolerance(case):
        reason = f"the {where} is off by {error:.1e}, more than {tolerance(case)}"
        if not math.isfinite(error):
            reason = f"the {where} is not finite"
        return row | {"status": WRONG, "reason": reason}, None
    return row | {
        "status": MEASURED,
        "memory": _memory(prepared, inputs, case),
    }, prepared


def _memory(prepared: Prepared, inputs: Inputs, case: Case) -> dict[str, Any]:
    """The temporaries of one call, by XLA or by the process' growth.

    The latter for what is not XLA's, and where it is clearly more: the library kernels that
    XLA calls on a CPU, whole softmaxes with their products among them, allocate their own.
    """
    known = None if prepared.xla is None else prepared.xla.get("temp_bytes")
    growth = timing.resident_growth(prepared.run)
    if growth is not None:
        results = [inputs.cotangent]
        results += [inputs.query, inputs.keys, inputs.values] * (case.which == GRADIENT)
        growth = max(growth - sum(a.nbytes for a in results), 0)
    if known is not None and (growth is None or growth < known + GROWTH_NOISE):
        return {"bytes": known, "by": "xla"}
    return {"bytes": growth, "by": "resident"}


@contextlib.contextmanager
def _wide_types(case: Case) -> Iterator[None]:
    with jax.enable_x64(case.dtype == "float64"):
        yield


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def _shapes(workload: Workload) -> dict[str, Any]:
    return {
        "leading": list(workload.leading),
        **{axis: getattr(workload, axis) for axis in "TSQKV"},
        "mask": workload.mask,
        "key_lengths": [int(n) for n in workload.key_lengths().reshape(-1)],
    }


# --- the correctness check ---------------------------------------------------------------


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
    double = case.dtype == "float64" or flops(case) <= FLOAT64_FLOPS
    dtype = jnp.dtype("float64" if double else "float32")
    with jax.enable_x64(double), jax.default_matmul_precision("highest"):
        query, keys, values, cotangent = (
            jnp.asarray(a, dtype)
            for a in (inputs.query, inputs.keys, inputs.values, inputs.cotangent)
        )
        options: dict[str, Any] = {
            "score": case.score,
            "normalizer": case.normalizer,
            "params": {n: jnp.asarray(p, dtype) for n, p in inputs.params.items()},
            "mask": inputs.mask(case),
            "implementation": "reference",
        }
        needed = explain_attention(query, keys, values, **options).intermediate_bytes
        if needed > REFERENCE_BYTES:
            options["implementation"] = "chunked"

        def attend(*data: Any) -> Any:
            return attention(*data, **options).context

        if case.which != GRADIENT:
            return {"context": np.asarray(attend(query, keys, values))}
        context, pull = jax.vjp(attend, query, keys, values)
        results = (context, *pull(cotangent))
        return dict(zip(OUTPUTS, map(np.asarray, results), strict=True))


def largest_error(
    actual: dict[str, np.ndarray], right: dict[str, np.ndarray]
) -> tuple[float, str]:
    """The largest error relative to the largest expected magnitude, and of which output.

    NaN counts as infinite.
    """
    worst, where = 0.0, "context"
    for name, answer in right.items():
        answer = answer.astype(np.float64)
        difference = np.abs(actual[name].astype(np.float64) - answer)
        scale = max(float(np.max(np.abs(answer), initial=0.0)), np.finfo(float).tiny)
        error = float(np.max(difference, initial=0.0)) / scale
        error = error if np.isfinite(error) else float("inf")
        if error > worst:
            worst, where = error, name
    return worst, where
