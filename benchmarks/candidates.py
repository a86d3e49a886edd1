"""What is timed: a function prepared for one case, ready to be called again and again.

A candidate gets its arrays in the layout it prefers; no transposition is timed.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, prepare_keys
from benchmarks.workloads import GRADIENT, Case, Inputs

OUTPUTS = ("context", "query", "keys", "values")


class Unsupported(Exception):
    """The candidate has no way to compute this case; one sentence says what is missing."""


class OverBudget(Exception):
    """The candidate would need more memory than it may have; one sentence says how much."""


class Layout(NamedTuple):
    """How a candidate wants [*leading, length, features], and how it is read back."""

    give: Callable[[np.ndarray], np.ndarray]
    take: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


class Prepared(NamedTuple):
    """A candidate prepared for one case.

    Attributes:
      run: computes the results and waits until they are there.
      read: what `run` returned -> "context", and "query", "keys", "values" for the
        gradients, in the layout of `Inputs`.
      lowering_seconds: tracing and lowering. compile_seconds: XLA's. None if not jitted.
      xla: XLA's figures for the compiled program, or None.
    """

    run: Callable[[], Any]
    read: Callable[[Any], dict[str, np.ndarray]]
    lowering_seconds: float | None = None
    compile_seconds: float | None = None
    xla: dict[str, float] | None = None


# (case, inputs, budget in bytes) -> Prepared. Raises Unsupported or OverBudget.
Candidate = Callable[[Case, Inputs, int], Prepared]


class Baseline(NamedTuple):
    """A library to compare with: the package whose version is recorded, and a candidate."""

    package: str
    prepare: Candidate


def batch_and_heads(leading: tuple[int, ...]) -> tuple[int, int]:
    """The leading axes as (batch, heads), ones where there are none."""
    batch, heads = (*leading, 1, 1)[:2]
    return batch, heads


def _heads_first(array: np.ndarray) -> np.ndarray:
    shape = batch_and_heads(array.shape[:-2])
    return np.ascontiguousarray(array.reshape(*shape, *array.shape[-2:]))


def _heads_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(_heads_first(array), 1, 2))


# [*leading, length, features], ours.
AS_GIVEN = Layout(lambda a: a, lambda a, shape: a.reshape(shape))
# [B, H, length, features], torch's.
HEADS_FIRST = Layout(_heads_first, lambda a, shape: a.reshape(shape))
# [B, length, H, features], jax.nn's and tokamax's.
HEADS_LAST = Layout(_heads_last, lambda a, shape: np.swapaxes(a, 1, 2).reshape(shape))


def attention_with(implementation: str) -> Candidate:
    """`attention` with this implementation; prepares the keys on every call, unless the
    workload has them prepared."""

    def prepare(case: Case, inputs: Inputs, budget: int) -> Prepared:
        def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
            return attention(
                query,
                extra.get("prepared", keys),
                values,
                score=case.score,
                normalizer=case.normalizer,
                params=extra["params"],
                mask=extra["mask"],
                implementation=implementation,
            ).context

        extra = {"params": inputs.params, "mask": inputs.mask(case)}
        if case.workload.prepared:
            extra["prepared"] = prepare_keys(case.score, inputs.keys, inputs.params)
        return prepare_jax(attend, case, inputs, AS_GIVEN, extra, budget)

    return prepare


def prepare_jax(
    attend: Callable[[Any, Any, Any, Any], Any],
    case: Case,
    inputs: Inputs,
    layout: Layout,
    extra: Any,
    budget: int,
) -> Prepared:
    """A JAX function lowered and compiled separately, on arrays that are on the device.

    Args:
      attend: (query, keys, values, extra) -> context, in `layout`.
      extra: what else it takes, a pytree; traced, so that nothing is folded into the
        program, and not differentiated.

    Raises:
      OverBudget: the program needs more than `budget` bytes beside its arguments.
    """

    def gradient(query: Any, keys: Any, values: Any, cotangent: Any, extra: Any) -> Any:
        context, pull = jax.vjp(
            lambda query, keys, values: attend(query, keys, values, extra),
            query,
            keys,
            values,
        )
        return (context, *pull(cotangent))

    def forward(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        return (attend(query, keys, values, extra),)

    backward = case.which == GRADIENT
    arrays = [inputs.query, inputs.keys, inputs.values]
    arrays += [inputs.cotangent] * backward
    arguments = [*(layout.give(a) for a in arrays), jax.tree.map(jnp.asarray, extra)]
    arguments = jax.device_put(arguments)
    started = time.perf_counter()
    lowered = jax.jit(gradient if backward else forward).lower(*arguments)
    was_lowered = time.perf_counter()
    compiled = lowered.compile()
    was_compiled = time.perf_counter()
    xla = xla_facts(compiled)
    check_budget(xla.get("temp_bytes", 0) + xla.get("output_bytes", 0), budget)
    return Prepared(
        run=lambda: jax.block_until_ready(compiled(*arguments)),
        read=lambda results: read_back(results, layout, inputs),
        lowering_seconds=was_lowered - started,
        compile_seconds=was_compiled - was_lowered,
        xla=xla,
    )


def check_budget(needed: float, budget: int) -> None:
    """Raises OverBudget if a candidate needs more bytes than it may have."""
    if needed > budget:
        raise OverBudget(
            f"needs {needed / 2**30:.1f} GiB of memory, more than the "
            f"{budget / 2**30:.1f} it may have"
        )


def read_back(
    results: Sequence[Any], layout: Layout, inputs: Inputs
) -> dict[str, np.ndarray]:
    """Results by name, in the layout of `Inputs`; gradients are those there are."""
    shapes = [
        a.shape for a in (inputs.cotangent, inputs.query, inputs.keys, inputs.values)
    ]
    named = zip(OUTPUTS, results, shapes, strict=False)
    return {name: layout.take(np.asarray(a), shape) for name, a, shape in named}


def xla_facts(compiled: Any) -> dict[str, float]:
    """XLA's FLOPs and bytes of a compiled program, those that the backend gives.

    `flops` and `bytes_accessed` count the body of a loop once, however often it runs:
    for a kernel that loops over blocks they are far too small, which is why fractions of
    the peak use `workloads.flops`. The sizes of buffers are exact.
    """
    analysis = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    found = {
        "flops": analysis.get("flops"),
        "transcendentals": analysis.get("transcendentals"),
        "bytes_accessed": analysis.get("bytes accessed"),
        "temp_bytes": getattr(memory, "temp_size_in_bytes", None),
        "argument_bytes": getattr(memory, "argument_size_in_bytes", None),
        "output_bytes": getattr(memory, "output_size_in_bytes", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def dot_product_scale(case: Case) -> float:
    """What a baseline multiplies its dot products by.

    Raises:
      Unsupported: the case is not a softmax of dot products.
    """
    if case.score not in ("dot", "scaled_dot"):
        raise Unsupported(f"has no score {case.score!r}")
    if case.normalizer != "softmax":
        raise Unsupported(f"has no normaliser {case.normalizer!r}")
    return case.workload.Q**-0.5 if case.score == "scaled_dot" else 1.0


def batch_lengths(case: Case, inputs: Inputs) -> np.ndarray:
    """The key lengths of each sequence of the batch, [B]."""
    batch, _ = batch_and_heads(case.workload.leading)
    return np.array(np.broadcast_to(inputs.key_lengths.reshape(-1), (batch,)))
