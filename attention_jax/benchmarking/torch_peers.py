"""PyTorch as a peer: its fused attention, FlexAttention, and eager operations.

Torch is imported when it is measured, and never needed.
"""

import importlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from attention_jax.benchmarking import torch_scores
from attention_jax.benchmarking.candidates import (
    HEADS_FIRST,
    OverBudget,
    Prepared,
    Unsupported,
    batch_and_heads,
    over_budget,
    read_back,
)
from attention_jax.benchmarking.cases import GRADIENT, Case, Inputs
from attention_jax.benchmarking.machine import cpu_count
from attention_jax.benchmarking.peers import (
    DOT_PRODUCTS,
    as_dot_product,
    four_axes,
    need,
    register_peer,
    scale,
)
from attention_jax.benchmarking.workload_masks import WINDOW, causal, full, padded


@register_peer("torch_sdpa", module="torch", package="torch")
def torch_sdpa(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`torch.nn.functional.scaled_dot_product_attention`."""
    need(case, scores=DOT_PRODUCTS, normalizers=("softmax",))
    torch = importlib.import_module("torch")
    inputs, project = as_dot_product(case, inputs)
    mask = as_tensor(torch, four_axes(case, inputs, unless=causal))
    params = as_tensors(torch, inputs.params)

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            query @ params["w"] if project else query,
            keys,
            values,
            attn_mask=mask,
            is_causal=case.workload.mask is causal,
            scale=scale(case),
        )

    return prepare_torch(torch, attend, case, inputs)


@register_peer(
    "torch_flex", module="torch.nn.attention.flex_attention", package="torch"
)
def torch_flex(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """Compiled `flex_attention` with a block mask; on a CPU it has no gradient.

    `compile_seconds` is the first call's; torch keeps compiled code on disk, so that a
    second run on the same machine shows less.
    """
    need(case, scores=DOT_PRODUCTS, normalizers=("softmax",))
    torch = importlib.import_module("torch")
    flex = importlib.import_module("torch.nn.attention.flex_attention")
    # Past a handful of shapes torch would stop compiling and run uncompiled.
    torch.compiler.reset()
    inputs, project = as_dot_product(case, inputs)
    params = as_tensors(torch, inputs.params)
    blocks = _block_mask(torch, flex, case, inputs)
    compiled = torch.compile(flex.flex_attention, dynamic=False)

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return compiled(
            query @ params["w"] if project else query,
            keys,
            values,
            block_mask=blocks,
            scale=scale(case),
        )

    prepared = prepare_torch(torch, attend, case, inputs)
    started = time.perf_counter()
    prepared.run()
    return prepared._replace(compile_seconds=time.perf_counter() - started)


def _block_mask(torch: Any, flex: Any, case: Case, inputs: Inputs) -> Any:
    workload = case.workload
    if workload.mask is full:
        return None
    batch, _ = batch_and_heads(workload.leading)
    lengths = np.broadcast_to(inputs.key_lengths.reshape(-1), (batch,))
    key_lengths = torch.from_numpy(np.array(lengths)).to(device(torch))

    def allowed(b: Any, h: Any, query: Any, key: Any) -> Any:
        if workload.mask is padded:
            return key < key_lengths[b]
        if workload.mask is causal:
            return key <= query
        return (key <= query) & (query - key <= WINDOW)

    return flex.create_block_mask(
        allowed,
        batch if workload.mask is padded else None,
        None,
        workload.T,
        workload.S,
        device=device(torch),
    )


@register_peer("torch_eager", module="torch", package="torch")
def torch_eager(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """Uncompiled torch operations: any of `torch_scores`, keeping all weights."""
    need(
        case,
        scores=tuple(torch_scores.SCORES),
        normalizers=tuple(torch_scores.NORMALIZERS),
    )
    needed = torch_scores.bytes_needed(case)
    if needed > budget:
        raise OverBudget(over_budget(needed, budget))
    torch = importlib.import_module("torch")
    mask = as_tensor(torch, four_axes(case, inputs))
    params = as_tensors(torch, inputs.params)
    prepare, score = torch_scores.SCORES[case.score]
    normalize = torch_scores.NORMALIZERS[case.normalizer]
    beforehand = None
    if case.workload.prepared:
        keys = as_tensor(torch, HEADS_FIRST.give(inputs.keys))
        beforehand = prepare(torch, keys, params)

    def attend(query: Any, keys: Any, values: Any) -> Any:
        ready = prepare(torch, keys, params) if beforehand is None else beforehand
        scores = score(torch, query, ready, params)
        return normalize(torch, scores, mask) @ values

    return prepare_torch(torch, attend, case, inputs)


def prepare_torch(
    torch: Any, attend: Callable[..., Any], case: Case, inputs: Inputs
) -> Prepared:
    """A function of [B, H, length, features] tensors, forward or with its gradients."""
    torch.set_num_threads(cpu_count())
    backward = case.which == GRADIENT
    given = (inputs.query, inputs.keys, inputs.values)
    data = [as_tensor(torch, HEADS_FIRST.give(array)) for array in given]
    cotangent = as_tensor(torch, HEADS_FIRST.give(inputs.cotangent))

    def forward() -> Any:
        with torch.no_grad():
            return (attend(*data),)

    def gradient() -> Any:
        leaves = [one.detach().requires_grad_() for one in data]
        context = attend(*leaves)
        return (context, *torch.autograd.grad(context, leaves, cotangent))

    def run() -> Any:
        results = gradient() if backward else forward()
        if results[0].is_cuda:
            torch.cuda.synchronize()
        return results

    def read(results: Any) -> dict[str, np.ndarray]:
        arrays = [one.detach().double().cpu().numpy() for one in results]
        return read_back(arrays, HEADS_FIRST, inputs)

    return Prepared(run=run, read=read)


def device(torch: Any) -> str:
    """Where torch computes: where JAX does.

    Raises:
      Unsupported: this torch cannot.
    """
    if jax.default_backend() == "cpu":
        return "cpu"
    if jax.default_backend() == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise Unsupported(f"this torch has no {jax.default_backend()}")


def as_tensor(torch: Any, array: np.ndarray | None) -> Any:
    """The array on torch's device, in its dtype; None for None."""
    if array is None:
        return None
    name = str(array.dtype)
    if name in ("bfloat16", "float16"):
        # NumPy's bfloat16 is not torch's.
        wide = torch.from_numpy(array.astype(np.float32))
        return wide.to(device(torch), getattr(torch, name))
    return torch.from_numpy(np.array(array)).to(device(torch))


def as_tensors(torch: Any, params: dict[str, np.ndarray]) -> dict[str, Any]:
    """A score's parameters as tensors."""
    return {name: as_tensor(torch, np.asarray(p)) for name, p in params.items()}
