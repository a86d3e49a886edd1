"""The peers that run on JAX: jax.nn and flax, and tokamax and keras where installed."""

import importlib
from typing import Any

import numpy as np

from attention_jax.benchmarking.candidates import (
    HEADS_LAST,
    MERGED,
    Prepared,
    Unsupported,
    batch_and_heads,
    prepare_jax,
)
from attention_jax.benchmarking.cases import Case, Inputs
from attention_jax.benchmarking.peers import (
    DOT_PRODUCTS,
    as_dot_product,
    four_axes,
    need,
    register_peer,
    scale,
)
from attention_jax.benchmarking.workload_masks import WINDOW, causal, padded, window


@register_peer("jax_nn", module="jax.nn", package="jax")
def jax_nn(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`jax.nn.dot_product_attention`, told the kind of mask."""
    from jax.nn import dot_product_attention

    return _told_the_mask(dot_product_attention, case, inputs, budget)


@register_peer("flax_nnx", module="flax.nnx", package="flax")
def flax_nnx(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`flax.nnx.dot_product_attention`, with booleans as mask unless causal."""
    from flax import nnx

    need(case, scores=("scaled_dot",), normalizers=("softmax",))

    def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        causally = case.workload.mask is causal
        return nnx.dot_product_attention(
            query, keys, values, mask=extra["mask"], is_causal=causally
        )

    extra = {"mask": four_axes(case, inputs, unless=causal)}
    return prepare_jax(attend, case, inputs, HEADS_LAST, extra, budget)


@register_peer("tokamax", module="tokamax", package="tokamax")
def tokamax(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`tokamax.dot_product_attention` with the implementation it chooses itself."""
    return _told_the_mask(_tokamax(), case, inputs, budget)


@register_peer("tokamax_chunked", module="tokamax", package="tokamax")
def tokamax_chunked(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """... with its `xla_chunked`, the one of linear memory that runs on a CPU."""
    options = {"implementation": "xla_chunked"}
    return _told_the_mask(_tokamax(), case, inputs, budget, **options)


def _tokamax() -> Any:
    # Tokamax parses sys.argv for flags of its own unless someone else has; this
    # program's are none of its.
    global_flags = importlib.import_module("absl.flags").FLAGS
    if not global_flags.is_parsed():
        global_flags.mark_as_parsed()
    return importlib.import_module("tokamax").dot_product_attention


@register_peer("keras", module="keras", package="keras")
def keras(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`keras.ops.dot_product_attention`; for `additive`, `keras.layers.AdditiveAttention`."""
    library = importlib.import_module("keras")
    if library.backend.backend() != "jax":
        raise Unsupported("was imported with another backend than jax")
    need(case, scores=(*DOT_PRODUCTS, "additive"), normalizers=("softmax",))
    if case.score == "additive":
        return _keras_additive(library, case, inputs, budget)
    inputs, project = as_dot_product(case, inputs)

    def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        return library.ops.dot_product_attention(
            query @ extra["params"]["w"] if project else query,
            keys,
            values,
            mask=extra["mask"],
            scale=scale(case),
            is_causal=case.workload.mask is causal,
        )

    extra = {"params": inputs.params, "mask": four_axes(case, inputs, unless=causal)}
    return prepare_jax(attend, case, inputs, HEADS_LAST, extra, budget)


def _keras_additive(library: Any, case: Case, inputs: Inputs, budget: int) -> Prepared:
    """Keras' layer is vᵀ tanh(q + k); Bahdanau's projections go before it."""
    if case.workload.prepared:
        raise Unsupported(
            "a keras layer with keys prepared beforehand is not set up here"
        )
    merged = [MERGED.give(a) for a in (inputs.query, inputs.values, inputs.keys)]
    layer = library.layers.AdditiveAttention(dtype=case.dtype)
    layer.build([array.shape for array in merged])
    extra: dict[str, Any] = {"params": inputs.params, "mask": None}
    if case.workload.mask is padded:
        lengths = np.broadcast_to(inputs.key_lengths, case.workload.leading)
        positions = np.arange(case.workload.S)
        extra["mask"] = positions[None, :] < lengths.reshape(-1, 1)
    elif case.workload.mask is window:
        raise Unsupported("has no sliding window")

    def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        params = extra["params"]
        context, _ = layer.stateless_call(
            [params["v"]],
            [],
            [query @ params["w_query"], values, keys @ params["w_key"]],
            mask=[None, extra["mask"]],
            use_causal_mask=case.workload.mask is causal,
        )
        return context

    return prepare_jax(attend, case, inputs, MERGED, extra, budget)


def _told_the_mask(
    function: Any, case: Case, inputs: Inputs, budget: int, **options: Any
) -> Prepared:
    """A function of jax.nn's signature, which tokamax shares."""
    need(case, scores=DOT_PRODUCTS, normalizers=("softmax",))
    workload = case.workload
    inputs, project = as_dot_product(case, inputs)
    batch, _ = batch_and_heads(workload.leading)
    extra: dict[str, Any] = {"params": inputs.params}
    if workload.mask is padded:
        lengths = np.broadcast_to(inputs.key_lengths.reshape(-1), (batch,))
        extra["lengths"] = np.array(lengths)

    def attend(query: Any, keys: Any, values: Any, extra: Any) -> Any:
        return function(
            query @ extra["params"]["w"] if project else query,
            keys,
            values,
            scale=scale(case),
            is_causal=workload.mask is causal,
            key_value_seq_lengths=extra.get("lengths"),
            local_window_size=(WINDOW, 0) if workload.mask is window else None,
            **options,
        )

    return prepare_jax(attend, case, inputs, HEADS_LAST, extra, budget)
