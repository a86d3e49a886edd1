"""What is timed: functions of ours and of other libraries, prepared for one case.

A candidate gets its arrays in the layout it prefers; no transposition is timed. Tokamax and
torch are imported when they are measured, and never needed.
"""

import functools
import importlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from attention_jax.attention import attention, prepare_keys
from benchmarks.workloads import GRADIENT, WINDOW, Case, Inputs

OUTPUTS = ("context", "query", "keys", "values")
# Layouts: [*leading, length, features], ours; [B, H, length, features], torch's;
# [B, length, H, features], jax.nn's and tokamax's.
AS_GIVEN, HEADS_FIRST, HEADS_LAST = "as given", "heads first", "heads last"


class Unsupported(Exception):
    """The candidate cannot compute this case, or not within its memory: one sentence."""


class Prepared(NamedTuple):
    """A candidate prepared for one case."""

    # Computes the results and waits until they are there.
    run: Callable[[], Any]
    # What `run` returned -> OUTPUTS by name, in the layout of `Inputs`.
    read: Callable[[Any], dict[str, np.ndarray]]
    compile_seconds: float | None = None
    # XLA's, beside arguments and results.
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


def give(array: np.ndarray, layout: str) -> np.ndarray:
    """[*leading, length, features] in another layout."""
    if layout == AS_GIVEN:
        return array
    array = array.reshape(*batch_and_heads(array.shape[:-2]), *array.shape[-2:])
    return np.ascontiguousarray(array.swapaxes(1, 2) if layout == HEADS_LAST else array)


def take(array: Any, shape: tuple[int, ...], layout: str) -> np.ndarray:
    """The inverse of `give`."""
    array = np.asarray(array)
    return (array.swapaxes(1, 2) if layout == HEADS_LAST else array).reshape(shape)


def read_back(
    results: Sequence[Any], layout: str, inputs: Inputs
) -> dict[str, np.ndarray]:
    """Results by name, in the layout of `Inputs`; gradients are those there are."""
    arrays = (inputs.cotangent, inputs.query, inputs.keys, inputs.values)
    found = zip(OUTPUTS, results, arrays, strict=False)
    return {name: take(result, array.shape, layout) for name, result, array in found}


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
    layout: str,
    extra: Any,
    budget: int,
) -> Prepared:
    """A compiled JAX function on arrays that are on the device.

    `attend` is (query, keys, values, extra) -> context, in `layout`; `extra`, a pytree, is
    traced, so that nothing is folded into the program, and not differentiated. More than
    `budget` bytes beside the arguments are `Unsupported`.
    """

    def compute(query: Any, keys: Any, values: Any, cotangent: Any, extra: Any) -> Any:
        if case.which != GRADIENT:
            return (attend(query, keys, values, extra),)
        context, pull = jax.vjp(
            lambda q, k, v: attend(q, k, v, extra), query, keys, values
        )
        return (context, *pull(cotangent))

    arrays = (inputs.query, inputs.keys, inputs.values, inputs.cotangent)
    arguments = [give(array, layout) for array in arrays]
    arguments = jax.device_put([*arguments, jax.tree.map(jnp.asarray, extra)])
    lowered = jax.jit(compute).lower(*arguments)
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


def dot_product_scale(case: Case) -> float:
    """What a baseline multiplies its dot products by; they are all that it has."""
    if case.score not in ("dot", "scaled_dot") or case.normalizer != "softmax":
        raise Unsupported(f"has no {case.normalizer!r} of {case.score!r}")
    return case.workload.size**-0.5 if case.score == "scaled_dot" else 1.0


def batch_lengths(case: Case, inputs: Inputs) -> np.ndarray:
    """The key lengths of each sequence of the batch, [B]."""
    batch, _ = batch_and_heads(case.workload.leading)
    return np.array(np.broadcast_to(inputs.key_lengths.reshape(-1), (batch,)))


def of_jax(module: str, case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`dot_product_attention` of jax.nn or of tokamax, with the implementation it chooses."""
    mask = case.workload.mask
    # Tokamax parses sys.argv for flags of its own unless absl's flags are parsed.
    flags.FLAGS.mark_as_parsed()
    function = importlib.import_module(module).dot_product_attention
    options: dict[str, Any] = {"scale": dot_product_scale(case)}
    options["is_causal"] = mask == "causal"
    options["local_window_size"] = (WINDOW, 0) if mask == "window" else None
    lengths = batch_lengths(case, inputs) if mask == "padded" else None

    def attend(query: Any, keys: Any, values: Any, lengths: Any) -> Any:
        return function(query, keys, values, key_value_seq_lengths=lengths, **options)

    return prepare_jax(attend, case, inputs, HEADS_LAST, lengths, budget)


def torch_sdpa(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`torch.nn.functional.scaled_dot_product_attention`."""
    scale, workload, mask = dot_product_scale(case), case.workload, None
    torch = importlib.import_module("torch")
    if workload.mask in ("padded", "window"):
        sizes = (batch_and_heads(workload.leading)[0], workload.T, workload.S)
        batch, query, key = (torch.arange(n, device=_device(torch)) for n in sizes)
        allowed = _allowed(torch, case, inputs)
        mask = allowed(batch[:, None, None, None], 0, query[:, None], key)
    causal = workload.mask == "causal"

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=causal, scale=scale
        )

    return _prepare_torch(torch, attend, case, inputs)


def torch_flex(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """Compiled `flex_attention` with a block mask; on a CPU it has no gradient."""
    scale, workload, blocks = dot_product_scale(case), case.workload, None
    torch = importlib.import_module("torch")
    flex = importlib.import_module("torch.nn.attention.flex_attention")
    # Past a handful of shapes torch would stop compiling and run uncompiled.
    torch.compiler.reset()
    if workload.mask != "full":
        padded = workload.mask == "padded"
        batches = batch_and_heads(workload.leading)[0] if padded else None
        sizes = (batches, None, workload.T, workload.S)
        allowed = _allowed(torch, case, inputs)
        blocks = flex.create_block_mask(allowed, *sizes, device=_device(torch))
    compiled = torch.compile(flex.flex_attention, dynamic=False)

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return compiled(query, keys, values, block_mask=blocks, scale=scale)

    return _prepare_torch(torch, attend, case, inputs)


def _allowed(torch: Any, case: Case, inputs: Inputs) -> Callable[..., Any]:
    """(sequence, head, query, key) -> whether the mask lets the query attend to the key."""
    lengths = _as_tensor(torch, batch_lengths(case, inputs))
    return {
        "padded": lambda b, h, query, key: key < lengths[b],
        "causal": lambda b, h, query, key: key <= query,
        "window": lambda b, h, query, key: (key <= query) & (query - key <= WINDOW),
    }[case.workload.mask]


def _prepare_torch(
    torch: Any, attend: Callable[..., Any], case: Case, inputs: Inputs
) -> Prepared:
    """A function of [B, H, length, features] tensors, forward or with its gradients."""
    torch.set_num_threads(os.cpu_count() or 1)
    arrays = (inputs.query, inputs.keys, inputs.values, inputs.cotangent)
    *data, cotangent = (_as_tensor(torch, give(one, HEADS_FIRST)) for one in arrays)

    def run() -> Any:
        if case.which == GRADIENT:
            leaves = [one.detach().requires_grad_() for one in data]
            context = attend(*leaves)
            results = (context, *torch.autograd.grad(context, leaves, cotangent))
        else:
            with torch.no_grad():
                results = (attend(*data),)
        if results[0].is_cuda:
            torch.cuda.synchronize()
        return results

    def read(results: Any) -> dict[str, np.ndarray]:
        arrays = [one.detach().double().cpu().numpy() for one in results]
        return read_back(arrays, HEADS_FIRST, inputs)

    return Prepared(run=run, read=read)


def _device(torch: Any) -> str:
    """Where torch computes: where JAX does."""
    if jax.default_backend() == "cpu":
        return "cpu"
    if jax.default_backend() == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise Unsupported(f"this torch has no {jax.default_backend()}")


def _as_tensor(torch: Any, array: np.ndarray) -> Any:
    """The array on torch's device, in its dtype."""
    # NumPy's bfloat16 is not torch's.
    wide = array.astype(np.float32) if array.dtype.itemsize == 2 else np.array(array)
    return torch.from_numpy(wide).to(_device(torch), getattr(torch, str(array.dtype)))


BASELINES = {
    "jax_nn": Baseline("jax", functools.partial(of_jax, "jax.nn")),
    "tokamax": Baseline("tokamax", functools.partial(of_jax, "tokamax")),
    "torch_sdpa": Baseline("torch", torch_sdpa),
    "torch_flex": Baseline("torch", torch_flex),
}
