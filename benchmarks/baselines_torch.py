"""Baselines in PyTorch: its fused attention and FlexAttention.

Torch is imported when it is measured, and never needed.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.candidates import (
    HEADS_FIRST,
    Baseline,
    Prepared,
    Unsupported,
    batch_and_heads,
    batch_lengths,
    dot_product_scale,
    read_back,
)
from benchmarks.workloads import GRADIENT, WINDOW, Case, Inputs


def torch_sdpa(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`torch.nn.functional.scaled_dot_product_attention`."""
    scale, kind = dot_product_scale(case), case.workload.mask
    torch = importlib.import_module("torch")
    mask = None
    if kind == "padded":
        lengths = _as_tensor(torch, batch_lengths(case, inputs))
        keys = torch.arange(case.workload.S, device=lengths.device)
        mask = (keys < lengths[:, None])[:, None, None]
    elif kind == "window":
        everything = torch.ones(case.workload.T, case.workload.S, dtype=torch.bool)
        mask = everything.tril().triu(-WINDOW).to(_device(torch))

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=kind == "causal", scale=scale
        )

    return _prepare(torch, attend, case, inputs)


def torch_flex(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """Compiled `flex_attention` with a block mask; on a CPU it has no gradient."""
    scale = dot_product_scale(case)
    torch = importlib.import_module("torch")
    flex = importlib.import_module("torch.nn.attention.flex_attention")
    # Past a handful of shapes torch would stop compiling and run uncompiled.
    torch.compiler.reset()
    blocks = _block_mask(torch, flex, case, inputs)
    compiled = torch.compile(flex.flex_attention, dynamic=False)

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return compiled(query, keys, values, block_mask=blocks, scale=scale)

    return _prepare(torch, attend, case, inputs)


def _block_mask(torch: Any, flex: Any, case: Case, inputs: Inputs) -> Any:
    workload = case.workload
    if workload.mask == "full":
        return None
    batch, _ = batch_and_heads(workload.leading)
    key_lengths = _as_tensor(torch, batch_lengths(case, inputs))

    def allowed(b: Any, h: Any, query: Any, key: Any) -> Any:
        if workload.mask == "padded":
            return key < key_lengths[b]
        if workload.mask == "causal":
            return key <= query
        return (key <= query) & (query - key <= WINDOW)

    batches = batch if workload.mask == "padded" else None
    return flex.create_block_mask(
        allowed, batches, None, workload.T, workload.S, device=_device(torch)
    )


def _prepare(
    torch: Any, attend: Callable[..., Any], case: Case, inputs: Inputs
) -> Prepared:
    """A function of [B, H, length, features] tensors, forward or with its gradients."""
    torch.set_num_threads(os.cpu_count() or 1)
    given = (inputs.query, inputs.keys, inputs.values)
    data = [_as_tensor(torch, HEADS_FIRST.give(array)) for array in given]
    cotangent = _as_tensor(torch, HEADS_FIRST.give(inputs.cotangent))

    def forward() -> Any:
        with torch.no_grad():
            return (attend(*data),)

    def gradient() -> Any:
        leaves = [one.detach().requires_grad_() for one in data]
        context = attend(*leaves)
        return (context, *torch.autograd.grad(context, leaves, cotangent))

    def run() -> Any:
        results = gradient() if case.which == GRADIENT else forward()
        if results[0].is_cuda:
            torch.cuda.synchronize()
        return results

    def read(results: Any) -> dict[str, np.ndarray]:
        arrays = [one.detach().double().cpu().numpy() for one in results]
        return read_back(arrays, HEADS_FIRST, inputs)

    return Prepared(run=run, read=read)


def _device(torch: Any) -> str:
    """Where torch computes: where JAX does.

    Raises:
      Unsupported: this torch cannot.
    """
    if jax.default_backend() == "cpu":
        return "cpu"
    if jax.default_backend() == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise Unsupported(f"this torch has no {jax.default_backend()}")


def _as_tensor(torch: Any, array: np.ndarray) -> Any:
    """The array on torch's device, in its dtype."""
    name = str(array.dtype)
    if name in ("bfloat16", "float16"):
        # NumPy's bfloat16 is not torch's.
        wide = torch.from_numpy(array.astype(np.float32))
        return wide.to(_device(torch), getattr(torch, name))
    return torch.from_numpy(np.array(array)).to(_device(torch))


BASELINES = {
    "torch_sdpa": Baseline("torch", torch_sdpa),
    "torch_flex": Baseline("torch", torch_flex),
}
