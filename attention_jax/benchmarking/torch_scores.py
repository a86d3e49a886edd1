"""Scores and normalisers in eager torch, as one writes them there: [..., T, S] at once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from attention_jax.benchmarking.cases import GRADIENT, Case


def _as_given(torch: Any, keys: Any, params: dict[str, Any]) -> Any:
    return keys


def _transposed(keys: Any) -> Any:
    return keys.transpose(-1, -2)


def _dot(torch: Any, query: Any, keys: Any, params: dict[str, Any]) -> Any:
    return query @ _transposed(keys)


def _scaled_dot(torch: Any, query: Any, keys: Any, params: dict[str, Any]) -> Any:
    return (query * query.shape[-1] ** -0.5) @ _transposed(keys)


def _through_weight(torch: Any, keys: Any, params: dict[str, Any]) -> Any:
    return keys @ params["w"].T


def _through_key_weight(torch: Any, keys: Any, params: dict[str, Any]) -> Any:
    return keys @ params["w_key"]


def _low_rank(torch: Any, query: Any, keys: Any, params: dict[str, Any]) -> Any:
    return (query @ params["w_query"]) @ _transposed(keys)


def _additive(torch: Any, query: Any, keys: Any, params: dict[str, Any]) -> Any:
    query = query @ params["w_query"]
    return torch.tanh(query.unsqueeze(-2) + keys.unsqueeze(-3)) @ params["v"]


def _unit(torch: Any, keys: Any, params: dict[str, Any]) -> Any:
    return torch.nn.functional.normalize(keys, dim=-1)


def _cosine(torch: Any, query: Any, keys: Any, params: dict[str, Any]) -> Any:
    query = torch.nn.functional.normalize(query, dim=-1)
    return (query * params["log_scale"].exp()) @ _transposed(keys)


def _euclidean(torch: Any, query: Any, keys: Any, params: dict[str, Any]) -> Any:
    squares = (query**2).sum(-1, keepdim=True) + (keys**2).sum(-1).unsqueeze(-2)
    distances = squares - 2 * query @ _transposed(keys)
    return -0.5 * (-2 * params["log_sigma"]).exp() * distances


# score -> (what depends on the keys alone, the scores).
SCORES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "dot": (_as_given, _dot),
    "scaled_dot": (_as_given, _scaled_dot),
    "bilinear": (_through_weight, _dot),
    "low_rank_bilinear": (_through_key_weight, _low_rank),
    "additive": (_through_key_weight, _additive),
    "cosine": (_unit, _cosine),
    "euclidean": (_as_given, _euclidean),
}


def _softmax(torch: Any, scores: Any, mask: Any) -> Any:
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1)


def _sigmoid(torch: Any, scores: Any, mask: Any) -> Any:
    weights = torch.sigmoid(scores)
    return weights if mask is None else weights * mask


NORMALIZERS: dict[str, Callable[..., Any]] = {"softmax": _softmax, "sigmoid": _sigmoid}


def bytes_needed(case: Case) -> int:
    """About the most memory that is alive at once: scores and weights, [.., T, S, A] for
    `additive`, and for gradients as much again."""
    workload = case.workload
    pairs = workload.sequences * workload.T * workload.S
    arrays = 3 + 2 * workload.K * (case.score == "additive")
    size = 2 if case.dtype in ("bfloat16", "float16") else np.dtype(case.dtype).itemsize
    return pairs * arrays * size * (2 if case.which == GRADIENT else 1)
