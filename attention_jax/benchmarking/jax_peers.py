"""The peers that run on JAX: jax.nn and flax here; tokamax and keras if installed."""

from typing import Any

import numpy as np

from attention_jax.benchmarking.candidates import (
    HEADS_LAST,
    Prepared,
    batch_and_heads,
    prepare_jax,
)
from attention_jax.benchmarking.cases import Case, Inputs
from attention_jax.benchmarking.peers import (
    DOT_PRODUCTS,
    dense_mask,
    need,
    projected,
    register_peer,
    scale,
)
from attention_jax.benchmarking.workload_masks import WINDOW, causal, padded, window


@register_peer("jax_nn", module="jax.nn", package="jax")
def jax_nn(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`jax.nn.dot_product_attention`, which is told of the kind of mask."""
    from jax.nn import dot_product_attention

    return _dot_product_attention(dot_product_attention, case, inputs, budget)


@register_peer("flax_nnx", module="flax.nnx", package="flax")
def flax_nnx(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`flax.nnx.dot_product_attention`, with a mask of booleans unless causal."""
    from flax import nnx

    need(case, scores=("scaled_dot",), normalizers=("softmax",))

    def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        causally = case.workload.mask is causal
        return nnx.dot_product_attention(
            query, keys, values, mask=extra["mask"], is_causal=causally
        )

    extra = {"mask": _four_axes(case, inputs, unless=causal)}
    return prepare_jax(attend, case, inputs, HEADS_LAST, extra, budget)


def _dot_product_attention(
    function: Any, case: Case, inputs: Inputs, budget: int, **options: Any
) -> Prepared:
    """A function of jax.nn's signature, which tokamax shares."""
    need(case, scores=DOT_PRODUCTS, normalizers=("softmax",))
    workload = case.workload
    batch, _ = batch_and_heads(workload.leading)
    extra: dict[str, Any] = {"params": inputs.params}
    if workload.mask is padded:
        lengths = np.broadcast_to(inputs.key_lengths.reshape(-1), (batch,))
        extra["lengths"] = np.array(lengths)

    def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        return function(
            projected(case, query, extra["params"]),
            keys,
            values,
            scale=scale(case),
            is_causal=workload.mask is causal,
            key_value_seq_lengths=extra.get("lengths"),
            local_window_size=(WINDOW, 0) if workload.mask is window else None,
            **options,
        )

    return prepare_jax(attend, case, inputs, HEADS_LAST, extra, budget)


def _four_axes(case: Case, inputs: Inputs, *, unless: Any = None) -> Any:
    """The mask as [B or 1, H or 1, T, S], or None without one or where it is `unless`."""
    mask = (
        None if case.workload.mask is unless else dense_mask(case, inputs.key_lengths)
    )
    if mask is None:
        return None
    return mask.reshape(batch_and_heads(mask.shape[:-2]) + mask.shape[-2:])
