"""What is measured: a function prepared for one case, ready to be called again and again."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, prepare_keys
from attention_jax.benchmarking.cases import GRADIENT, Case, Inputs


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
        gradients, in our layout.
      lowering_seconds: tracing and lowering. compile_seconds: XLA's. None if not jitted.
      xla: what XLA says of the compiled program, or None.
    """

    run: Callable[[], Any]
    read: Callable[[Any], dict[str, np.ndarray]]
    lowering_seconds: float | None = None
    compile_seconds: float | None = None
    xla: dict[str, float] | None = None


# (case, inputs, budget in bytes) -> Prepared. Raises Unsupported or OverBudget.
Candidate = Callable[[Case, Inputs, int], Prepared]

OUTPUTS = ("context", "query", "keys", "values")


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _back(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array.reshape(shape)


def batch_and_heads(leading: tuple[int, ...]) -> tuple[int, int]:
    """The leading axes as (batch, heads), ones where there are none.

    Raises:
      Unsupported: there are more than two.
    """
    if len(leading) > 2:
        raise Unsupported(f"takes batch and heads, not {len(leading)} leading axes")
    batch, heads = (*leading, 1, 1)[:2]
    return batch, heads


def _heads_first(array: np.ndarray) -> np.ndarray:
    shape = batch_and_heads(array.shape[:-2])
    return np.ascontiguousarray(array.reshape(*shape, *array.shape[-2:]))


def _heads_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(_heads_first(array), 1, 2))


# [*leading, length, features], ours.
AS_GIVEN = Layout(_same, _back)
# [B, H, length, features], torch's.
HEADS_FIRST = Layout(_heads_first, _back)
# [B·H, length, features], that of keras' attention layers.
MERGED = Layout(lambda a: a.reshape(-1, *a.shape[-2:]), _back)
# [B, length, H, features], jax.nn's, flax's, tokamax's and keras.ops'.
HEADS_LAST = Layout(_heads_last, lambda a, shape: np.swapaxes(a, 1, 2).reshape(shape))


def own(implementation: str) -> Candidate:
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

        mask = case.workload.mask.build(inputs.key_lengths)
        extra = {"params": inputs.params, "mask": mask}
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
    """A JAX function lowered and compiled apart, on arrays that are on the device.

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
    needed = xla.get("temp_bytes", 0) + xla.get("output_bytes", 0)
    if needed > budget:
        raise OverBudget(over_budget(needed, budget))
    return Prepared(
        run=lambda: jax.block_until_ready(compiled(*arguments)),
        read=lambda results: read_back(results, layout, inputs),
        lowering_seconds=was_lowered - started,
        compile_seconds=was_compiled - was_lowered,
        xla=xla,
    )


def over_budget(needed: float, budget: int) -> str:
    """The sentence for a candidate that needs too much memory."""
    return (
        f"needs {needed / 2**30:.1f} GiB of memory, more than the {budget / 2**30:.1f} "
        "it may have"
    )


def read_back(
    results: Sequence[Any], layout: Layout, inputs: Inputs
) -> dict[str, np.ndarray]:
    """Results by name, in our layout; gradients are those there are."""
    shapes = [
        a.shape for a in (inputs.cotangent, inputs.query, inputs.keys, inputs.values)
    ]
    named = zip(OUTPUTS, results, shapes, strict=False)
    return {name: layout.take(np.asarray(a), shape) for name, a, shape in named}


def xla_facts(compiled: Any) -> dict[str, float]:
    """XLA's FLOPs and bytes of a compiled program, those that the backend gives.

    `flops` and `bytes_accessed` count the body of a loop once, however often it runs:
    for a kernel that loops over blocks they are far too small, which is why fractions of
    the peak use `cases.flops`. The sizes of buffers are exact.
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
