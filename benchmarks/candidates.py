"""What is timed: a function prepared for one case, ready to be called again and again.

A candidate gets its arrays in the layout it prefers; no transposition is timed.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, prepare_keys
from benchmarks.workloads import GRADIENT, WINDOW, Case, Inputs

OUTPUTS = ("context", "query", "keys", "values")


class Unsupported(Exception):
    """The candidate cannot compute this case, or not within its memory: one sentence."""


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
      compile_seconds: None if it is not compiled.
      temporary_bytes: XLA's, beside arguments and results; None if unknown.
    """

    run: Callable[[], Any]
    read: Callable[[Any], dict[str, np.ndarray]]
    compile_seconds: float | None = None
    temporary_bytes: int | None = None


# (case, inputs, budget in bytes) -> Prepared. Raises Unsupported.
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
    """A compiled JAX function on arrays that are on the device.

    Args:
      attend: (query, keys, values, extra) -> context, in `layout`.
      extra: what else it takes, a pytree; traced, so that nothing is folded into the
        program, and not differentiated.

    Raises:
      Unsupported: the program needs more than `budget` bytes beside its arguments.
    """

    def gradient(query: Any, keys: Any, values: Any, cotangent: Any, extra: Any) -> Any:
        context, pull = jax.vjp(
            lambda q, k, v: attend(q, k, v, extra), query, keys, values
        )
        return (context, *pull(cotangent))

    def forward(query: Any, keys: Any, values: Any, cotangent: Any, extra: Any) -> Any:
        del cotangent
        return (attend(query, keys, values, extra),)

    arrays = (inputs.query, inputs.keys, inputs.values, inputs.cotangent)
    arguments = [*map(layout.give, arrays), jax.tree.map(jnp.asarray, extra)]
    arguments = jax.device_put(arguments)
    function = gradient if case.which == GRADIENT else forward
    lowered = jax.jit(function).lower(*arguments)
    started = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    temporaries = getattr(memory, "temp_size_in_bytes", 0)
    needed = temporaries + getattr(memory, "output_size_in_bytes", 0)
    if needed > budget:
        raise Unsupported(
            f"needs {needed / 2**30:.1f} GiB of memory, more than the "
            f"{budget / 2**30:.1f} it may have"
        )
    return Prepared(
        run=lambda: jax.block_until_ready(compiled(*arguments)),
        read=lambda results: read_back(results, layout, inputs),
        compile_seconds=compile_seconds,
        temporary_bytes=temporaries,
    )


def read_back(
    results: Sequence[Any], layout: Layout, inputs: Inputs
) -> dict[str, np.ndarray]:
    """Results by name, in the layout of `Inputs`; gradients are those there are."""
    arrays = (inputs.cotangent, inputs.query, inputs.keys, inputs.values)
    return {
        name: layout.take(np.asarray(result), array.shape)
        for name, result, array in zip(OUTPUTS, results, arrays, strict=False)
    }


# --- baselines on JAX ------------------------------------------------------------------


def dot_product_scale(case: Case) -> float:
    """What a baseline multiplies its dot products by.

    Raises:
      Unsupported: the case is not a softmax of dot products.
    """
    if case.score not in ("dot", "scaled_dot") or case.normalizer != "softmax":
        raise Unsupported(f"has no {case.normalizer!r} of {case.score!r}")
    return case.workload.size**-0.5 if case.score == "scaled_dot" else 1.0


def batch_lengths(case: Case, inputs: Inputs) -> np.ndarray:
    """The key lengths of each sequence of the batch, [B]."""
    batch, _ = batch_and_heads(case.workload.leading)
    return np.array(np.broadcast_to(inputs.key_lengths.reshape(-1), (batch,)))


def jax_nn(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`jax.nn.dot_product_attention`, given the kind of mask."""
    return _of_jax(jax.nn.dot_product_attention, case, inputs, budget)


def tokamax(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`tokamax.dot_product_attention` with the implementation it chooses itself."""
    # Tokamax parses sys.argv for flags of its own unless absl's flags are parsed.
    global_flags = importlib.import_module("absl.flags").FLAGS
    if not global_flags.is_parsed():
        global_flags.mark_as_parsed()
    function = importlib.import_module("tokamax").dot_product_attention
    return _of_jax(function, case, inputs, budget)


def _of_jax(function: Any, case: Case, inputs: Inputs, budget: int) -> Prepared:
    """A function of jax.nn's signature, which tokamax shares."""
    scale, mask = dot_product_scale(case), case.workload.mask
    padded = {"lengths": batch_lengths(case, inputs)} if mask == "padded" else {}

    def attend(query: Any, keys: Any, values: Any, padded: Any) -> Any:
        return function(
            query,
            keys,
            values,
            scale=scale,
            is_causal=mask == "causal",
            key_value_seq_lengths=padded.get("lengths"),
            local_window_size=(WINDOW, 0) if mask == "window" else None,
        )

    return prepare_jax(attend, case, inputs, HEADS_LAST, padded, budget)


BASELINES = {
    "jax_nn": Baseline("jax", jax_nn),
    "tokamax": Baseline("tokamax", tokamax),
}
