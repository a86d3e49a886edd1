"""The checks in the order they run: whatever lists them, lists these."""

from attention_jax.score_checking import (
    attending,
    calling,
    costs,
    derivatives,
    finiteness,
    keys,
    purity,
    transforms,
)
from attention_jax.score_checking.check import Check

CHECKS: tuple[Check, ...] = (
    calling.parameters,
    calling.runs,
    calling.traces,
    calling.shape,
    calling.no_keys,
    calling.floating,
    calling.dtype,
    calling.sizes,
    purity.pure,
    transforms.jit,
    transforms.vmap,
    transforms.compiles_once,
    finiteness.finite,
    finiteness.large_inputs,
    derivatives.gradients,
    finiteness.zero_vectors,
    derivatives.higher_orders,
    keys.prepare,
    keys.own_key,
    keys.more_keys,
    keys.key_order,
    attending.masked_keys,
    attending.prepared_keys,
    attending.chunks,
    costs.intermediate,
    costs.memory,
    costs.time,
)


def check_names() -> tuple[str, ...]:
    """The names of all checks."""
    return tuple(check.name for check in CHECKS)


def with_needs(names: set[str]) -> set[str]:
    """The names and those of all checks that they need."""
    needed = {need for check in CHECKS if check.name in names for need in check.needs}
    return names if needed <= names else with_needs(names | needed)
