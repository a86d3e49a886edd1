"""PyTorch as a peer; imported only when measured, never needed."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from attention_jax.benchmarking.candidates import (
    HEADS_FIRST,
    Prepared,
    batch_and_heads,
    read_back,
)
from attention_jax.benchmarking.cases import GRADIENT, Case, Inputs
from attention_jax.benchmarking.machine import cpu_count
from attention_jax.benchmarking.peers import (
    DOT_PRODUCTS,
    dense_mask,
    need,
    projected,
    register_peer,
    scale,
)
from attention_jax.benchmarking.workload_masks import causal


@register_peer("torch_sdpa", module="torch", package="torch")
def torch_sdpa(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`torch.nn.functional.scaled_dot_product_attention`."""
    need(case, scores=DOT_PRODUCTS, normalizers=("softmax",))
    torch = importlib.import_module("torch")
    mask = None if case.workload.mask is causal else _mask(torch, case, inputs)
    params = tensors(torch, inputs.params)

    def attend(query: Any, keys: Any, values: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            projected(case, query, params),
            keys,
            values,
            attn_mask=mask,
            is_causal=case.workload.mask is causal,
            scale=scale(case),
        )

    return prepare_torch(torch, attend, case, inputs)


def prepare_torch(
    torch: Any, attend: Callable[..., Any], case: Case, inputs: Inputs
) -> Prepared:
    """A function of [B, H, length, features] tensors, forward or with its gradients."""
    torch.set_num_threads(cpu_count())
    backward = case.which == GRADIENT
    given = (inputs.query, inputs.keys, inputs.values)
    data = [tensor(torch, HEADS_FIRST.give(a)) for a in given]
    cotangent = tensor(torch, HEADS_FIRST.give(inputs.cotangent))

    def forward() -> Any:
        with torch.inference_mode():
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


def tensor(torch: Any, array: np.ndarray) -> Any:
    """The array on torch's device, in its dtype."""
    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    if array.dtype == bool:
        return torch.from_numpy(array.copy()).to("cuda" if on_gpu else "cpu")
    name = str(array.dtype)
    wide = array.astype(np.float64 if name == "float64" else np.float32)
    return torch.from_numpy(wide).to("cuda" if on_gpu else "cpu", getattr(torch, name))


def tensors(torch: Any, params: dict[str, np.ndarray]) -> dict[str, Any]:
    """A score's parameters as tensors."""
    return {name: tensor(torch, np.asarray(p)) for name, p in params.items()}


def _mask(torch: Any, case: Case, inputs: Inputs) -> Any:
    mask = dense_mask(case, inputs.key_lengths)
    if mask is None:
        return None
    leading = batch_and_heads(mask.shape[:-2])
    return tensor(torch, mask.reshape(leading + mask.shape[-2:]))
