"""Baselines that run on JAX: jax.nn, and tokamax where it is installed."""

import importlib
from typing import Any

import jax

from benchmarks.candidates import (
    HEADS_LAST,
    Baseline,
    Prepared,
    batch_lengths,
    dot_product_scale,
    prepare_jax,
)
from benchmarks.workloads import WINDOW, Case, Inputs


def jax_nn(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`jax.nn.dot_product_attention`, given the kind of mask."""
    return _prepare(jax.nn.dot_product_attention, case, inputs, budget)


def tokamax(case: Case, inputs: Inputs, budget: int) -> Prepared:
    """`tokamax.dot_product_attention` with the implementation it chooses itself."""
    # Tokamax parses sys.argv for flags of its own unless absl's flags are parsed.
    global_flags = importlib.import_module("absl.flags").FLAGS
    if not global_flags.is_parsed():
        global_flags.mark_as_parsed()
    function = importlib.import_module("tokamax").dot_product_attention
    return _prepare(function, case, inputs, budget)


def _prepare(function: Any, case: Case, inputs: Inputs, budget: int) -> Prepared:
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
