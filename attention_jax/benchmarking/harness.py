"""The benchmark: every candidate of every case checked, then timed side by side."""

import contextlib
import dataclasses
import functools
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from attention_jax.benchmarking import gate, machine, timing
from attention_jax.benchmarking.candidates import (
    Candidate,
    OverBudget,
    Prepared,
    Unsupported,
    own,
)
from attention_jax.benchmarking.cases import GRADIENT, Case, Inputs, flops, make_inputs
from attention_jax.benchmarking.peers import load, peers
from attention_jax.benchmarking.report import size
from attention_jax.benchmarking.results import (
    COMPILED,
    FAILED,
    MEASURED,
    OVER_BUDGET,
    SCHEMA,
    UNSUPPORTED,
    VERSION,
    WRONG,
)
from attention_jax.benchmarking.workloads import Workload

# What a process may grow by for other reasons.
GROWTH_NOISE = 8 * 2**20

Log = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
      workloads: which. scores: which, for every workload; () takes each workload's own.
      normalizers, dtypes, passes: which; a pass that a workload does not have is left out.
      implementations: ours. peers: the others.
      repeats: rounds of interleaved samples; with 0 everything is compiled, nothing run.
      max_seconds: no further round of a case begins after this long, beyond three.
      budget: bytes that one candidate may need.
      baseline: the candidate that ratios are to.
      seed: of the arrays.
    """

    workloads: tuple[Workload, ...]
    implementations: tuple[str, ...]
    scores: tuple[str, ...] = ()
    normalizers: tuple[str, ...] = ("softmax",)
    passes: tuple[str, ...] = ("forward", "gradient")
    dtypes: tuple[str, ...] = ("float32",)
    peers: tuple[str, ...] = ()
    repeats: int = 10
    max_seconds: float = 60.0
    budget: int = 4 * 2**30
    baseline: str = "auto"
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
    log: Log = lambda event: None,
    save: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Measures a plan.

    Args:
      plan: what.
      command: how the program was called; recorded.
      log: is told what happens: {"event": "unavailable" | "case" | "step", ...}.
      save: is given the result so far after every case, "complete" false until the last.

    Returns:
      the result, JSON values only, as `results` describes it.
    """
    candidates: dict[str, Candidate] = {
        name: own(name) for name in plan.implementations
    }
    found = {}
    for name in plan.peers:
        try:
            found[name] = {"version": load(name)}
            candidates[name] = peers.get(name).prepare
        except Unsupported as error:
            found[name] = {"unavailable": str(error)}
            log({"event": "unavailable", "peer": name, "reason": str(error)})
    settings = {
        "repeats": plan.repeats,
        "max_seconds": plan.max_seconds,
        "budget_bytes": plan.budget,
        "baseline": plan.baseline,
        "seed": plan.seed,
        # A cache on disk makes compilation seem fast.
        "compilation_cache": bool(
            getattr(jax.config, "jax_compilation_cache_dir", None)
        ),
    }
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "complete": False,
        "command": list(command),
        "environment": machine.machine_facts(),
        "peers": found,
        "settings": settings,
        "cases": [],
    }
    of_case = measure_case if plan.repeats else compile_case
    cases = plan.cases()
    for number, case in enumerate(cases, 1):
        event = {"number": number, "total": len(cases), "name": case.name}
        log({"event": "case", **event})
        result["cases"].append(of_case(case, candidates, plan, log))
        result["complete"] = number == len(cases)
        save(result)
    result["complete"] = True
    return result


def measure_case(
    case: Case,
    candidates: dict[str, Candidate],
    plan: Plan,
    log: Log = lambda event: None,
) -> dict[str, Any]:
    """Prepares, checks and times every candidate of one case.

    Nothing that one candidate does ends the others: what it cannot do, what it gets wrong
    and what it needs too much memory for is its row's `status` and `reason`.
    """
    with _wide_types(case):
        inputs = make_inputs(case, seed=plan.seed)
        right = gate.expected(case, inputs)
        rows, runs = {}, {}
        for name, candidate in candidates.items():
            log({"event": "step", "text": f"preparing {name}"})
            row, prepared = _check(case, inputs, candidate, right, plan.budget)
            rows[name] = _named(name, plan) | row
            if prepared is not None:
                runs[name] = prepared.run
        del right
        gc.collect()
        log({"event": "step", "text": f"timing {len(runs)} candidates"})
        peak = machine.matmul_peak(case.dtype)
        samples, failures = timing.interleave(
            runs, repeats=plan.repeats, max_seconds=plan.max_seconds
        )
        peak = max(peak, machine.matmul_peak(case.dtype))
    for name, error in failures.items():
        rows[name] |= {"status": FAILED, "reason": _reason(error)}
    useful = flops(case)
    baseline = plan.baseline if plan.baseline in samples else next(iter(samples), None)
    for name, seconds in samples.items():
        summary = timing.summarize(seconds)
        rows[name] |= {
            "seconds": summary,
            "ratio": timing.ratio(seconds, samples[baseline or name]),
            "peak_fraction": useful / summary["median"] / peak,
        }
    return _facts(case, peak) | {"baseline": baseline, "rows": list(rows.values())}


def compile_case(
    case: Case,
    candidates: dict[str, Candidate],
    plan: Plan,
    log: Log = lambda event: None,
) -> dict[str, Any]:
    """Compiles every candidate of one case, and runs none: XLA's memory, no times."""
    with _wide_types(case):
        inputs = make_inputs(case, seed=plan.seed)
        rows = []
        for name, candidate in candidates.items():
            log({"event": "step", "text": f"compiling {name}"})
            prepared = _attempt(functools.partial(candidate, case, inputs, plan.budget))
            row = prepared if isinstance(prepared, dict) else _compiled(prepared)
            rows.append(_named(name, plan) | row)
        peak = machine.matmul_peak(case.dtype)
    return _facts(case, peak) | {"baseline": None, "rows": rows}


def _facts(case: Case, peak: float) -> dict[str, Any]:
    return {
        **case.key(),
        "shapes": _shapes(case.workload),
        "flops": flops(case),
        "peak_flops_per_second": peak,
        "tolerance": gate.tolerance(case),
    }


def _named(name: str, plan: Plan) -> dict[str, Any]:
    return {"candidate": name, "ours": name in plan.implementations}


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
    """A candidate's row before timing, and what to time if it passed."""
    prepared = _attempt(functools.partial(candidate, case, inputs, budget))
    if isinstance(prepared, dict):
        return prepared, None
    found = _attempt(lambda: gate.largest_error(prepared.read(prepared.run()), right))
    if isinstance(found, dict):
        return found, None
    error, where = found
    row = {
        "status": MEASURED,
        # JSON has no infinity.
        "error": error if math.isfinite(error) else None,
        "lowering_seconds": prepared.lowering_seconds,
        "compile_seconds": prepared.compile_seconds,
        "memory": _memory(prepared, inputs, case),
        "xla": prepared.xla,
    }
    if error > gate.tolerance(case):
        reason = f"the {where} is off by {error:.1e}, more than {gate.tolerance(case)}"
        if not math.isfinite(error):
            reason = f"the {where} is not finite"
        return row | {"status": WRONG, "reason": reason}, None
    return row, prepared


def _compiled(prepared: Prepared) -> dict[str, Any]:
    """The row of what is not run."""
    if prepared.xla is None:
        return {"status": UNSUPPORTED, "reason": "not compiled by XLA"}
    temporaries = prepared.xla.get("temp_bytes", 0)
    return {
        "status": COMPILED,
        "reason": f"{size(temporaries)} of temporaries",
        "lowering_seconds": prepared.lowering_seconds,
        "compile_seconds": prepared.compile_seconds,
        "memory": {"bytes": temporaries, "by": "xla"},
        "xla": prepared.xla,
    }


def _memory(prepared: Prepared, inputs: Inputs, case: Case) -> dict[str, Any]:
    """The temporaries of one call, by XLA or by the process' growth.

    The latter for what is not XLA's, and where it is clearly more: the library kernels that
    XLA calls on a CPU, whole softmaxes with their products among them, allocate their own.
    """
    known = None if prepared.xla is None else prepared.xla.get("temp_bytes")
    growth = machine.resident_growth(prepared.run)
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
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else ""


def _shapes(workload: Workload) -> dict[str, Any]:
    return {
        "leading": list(workload.leading),
        **{axis: getattr(workload, axis) for axis in "TSQKV"},
        "mask": workload.mask.name,
        "key_lengths": [int(n) for n in workload.key_lengths().reshape(-1)],
    }
