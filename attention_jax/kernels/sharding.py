"""Attention where its arrays are divided among devices: every device attends for its own part.

Leading axes and queries are independent of each other, so that what is divided along them needs
no communication. Keys, values and masks divided along S are gathered once: the one exchange. Only
axes of type `Explicit` are handled here, whose arrays carry in their type how they lie; what an
`Auto` axis divides is for the compiler to follow, and inside a `shard_map` there is nothing to do.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from attention_jax.arguments import Operands, Options
from attention_jax.kernels.reference import operand_axes, row_numbers
from attention_jax.statistics import COLUMN_SUM, result_names
from attention_jax.types import Array

Axes = tuple[Any, ...]


def on_each_device(
    attend: Callable[[Operands, Array | None], Any],
    operands: Operands,
    options: Options,
    rows: Array | None,
) -> Any:
    """`attend(operands, rows)`, each device computing its part of the leading axes.

    An axis lies as the first argument has it that divides it: query, keys, values, bias, mask,
    positions, parameters; the others are brought to that. Keys are gathered along S, features
    along theirs: that is the communication there is.
    """
    mesh = operands.explicit_mesh
    whole = operands.leading(options.score)
    num_axes = len(whole)
    if operands.dropout_rng is not None:
        numbers = row_numbers((*whole, operands.num_queries))
        operands = dataclasses.replace(operands, row_indices=numbers)
    letters = operand_axes(operands, options.score)
    specs = [
        (tuple(jax.typeof(leaf).sharding.spec), core)
        for leaf, core in zip(
            jax.tree.leaves(operands), jax.tree.leaves(letters), strict=True
        )
    ]
    leading = _merge([spec[: len(spec) - len(core)] for spec, core in specs], num_axes)
    queries = None
    if rows is None:
        used = {name for entry in leading for name in _names(entry)}
        found = [s[len(s) - len(c) :][c.index("T")] for s, c in specs if "T" in c]
        queries = next((e for e in found if e and not used & {*_names(e)}), None)

    def placed(leaf: Array, core: str) -> PartitionSpec:
        own = leading[num_axes - (leaf.ndim - len(core)) :]
        own = [
            entry if size != 1 else None
            for entry, size in zip(own, leaf.shape[: len(own)], strict=True)
        ]
        rest = [
            queries if letter == "T" and size != 1 else None
            for letter, size in zip(core, leaf.shape[len(own) :], strict=True)
        ]
        return PartitionSpec(*own, *rest)

    def brought(leaf: Array, spec: PartitionSpec) -> Array:
        return jax.sharding.reshard(leaf, NamedSharding(mesh, spec))

    in_specs = jax.tree.map(placed, operands, letters)
    operands = jax.tree.map(brought, operands, in_specs)
    by_row = PartitionSpec(*leading, queries)
    by_key = PartitionSpec(*leading)
    statistics = {
        name: by_key if name == COLUMN_SUM else by_row
        for name in result_names(options.statistics)
    }

    def here(operands: Operands, rows: Array | None) -> Any:
        context, weights, statistics = attend(operands, rows)
        if queries is not None and COLUMN_SUM in statistics:
            total = jax.lax.psum(statistics[COLUMN_SUM], _names(queries))
            statistics = statistics | {COLUMN_SUM: total}
        return context, weights, statistics

    weights = by_row if options.return_weights else None
    divided = jax.shard_map(
        here,
        mesh=mesh,
        in_specs=(in_specs, PartitionSpec()),
        out_specs=(by_row, weights, statistics),
        axis_names=set(mesh.explicit_axes),
    )
    try:
        return divided(operands, rows)
    except NotImplementedError as error:
        if "Closing over" not in str(error):
            raise
        raise ValueError(
            "the score or the normalizer captures an array that lies on a mesh with "
            "Explicit axes: give it as one of the score's params instead"
        ) from error


def _names(entry: Any) -> tuple[str, ...]:
    """The mesh axes that divide one axis of an array."""
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _merge(specs: list[Axes], num_axes: int) -> list[Any]:
    """How each leading axis is divided: as the first array has it that divides it."""
    merged: list[Any] = [None] * num_axes
    used: set[str] = set()
    for spec in specs:
        for axis, entry in enumerate(spec, num_axes - len(spec)):
            if merged[axis] is None and entry and not used & {*_names(entry)}:
                merged[axis] = entry
                used |= {*_names(entry)}
    return merged
