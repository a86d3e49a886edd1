"""`explain_attention`: what `attention` would do with these arguments, and what it costs."""

import dataclasses
import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.kernels.chunked import queries_per_block
from attention_jax.kernels.cost_model import (
    bytes_per_query,
    flops_per_query,
    flops_to_prepare,
)
from attention_jax.kernels.dispatch import (
    AUTO,
    REFERENCE_BYTES,
    attention,
    check_call,
    choose,
)
from attention_jax.kernels.operands import Operands, Options


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What one call of `attention` would do. `str` of it is a paragraph to read.

    Attributes:
      implementation: the kernel's name, never "auto".
      reason: why this one, in a sentence.
      flops: of the forward pass, as `count_flops` counts them. Keys that a mask lets a
        kernel skip are counted.
      argument_bytes: of queries, keys, values, parameters, mask and positions.
      output_bytes: of context, weights and statistics.
      intermediate_bytes: of the largest array in between, if the compiler fuses nothing.
      queries_per_block: how many queries are computed at once: of one sequence by
        `chunked`, all there are by `reference`.
      blocks: how many such blocks there are, over all sequences.
    """

    implementation: str
    reason: str
    flops: int
    argument_bytes: int
    output_bytes: int
    intermediate_bytes: int
    queries_per_block: int
    blocks: int

    def __str__(self) -> str:
        return "\n".join(
            (
                f"implementation  {self.implementation}: {self.reason}",
                f"FLOPs           {_decimal(self.flops)}, forward; no key skipped",
                f"arguments       {_binary(self.argument_bytes)}",
                f"outputs         {_binary(self.output_bytes)}",
                f"intermediates   at most {_binary(self.intermediate_bytes)} each",
                f"blocks          {self.blocks:,} of {self.queries_per_block:,} queries",
            )
        )


def explain_attention(
    query: Any, keys: Any, values: Any, **arguments: Any
) -> Explanation:
    """What `attention` would do with the same arguments; nothing is computed.

    Args:
      query, keys, values, **arguments: as for `attention`, params of a score that has
        some too; for an array a `jax.ShapeDtypeStruct` will do.

    Raises:
      TypeError: a shape is given as a tuple; and what `attention` raises for these
      arguments.

        >>> print(explain_attention(query, keys, values, score="additive", ...))
    """
    bound = inspect.signature(attention).bind(query, keys, values, **arguments)
    bound.apply_defaults()
    given = bound.arguments
    for name in ("query", "keys", "values"):
        if isinstance(given[name], tuple) and _all_integers(given[name]):
            raise TypeError(
                f"{name} must be an array or a jax.ShapeDtypeStruct, not the tuple "
                f"{given[name]}; for a shape: jax.ShapeDtypeStruct({given[name]}, "
                "jnp.float32)"
            )
    abstract = {
        name: value
        for name, value in given.items()
        if any(isinstance(a, jax.ShapeDtypeStruct) for a in jax.tree.leaves(value))
    }
    checked = []

    def traced(abstract: dict[str, Any]) -> Any:
        checked.append(check_call(**given | abstract))
        return attention(**given | abstract)

    outputs = jax.eval_shape(traced, abstract)
    return _explain(*checked[0], given["implementation"], _bytes(outputs))


def _explain(
    operands: Operands, options: Options, implementation: str, output_bytes: int
) -> Explanation:
    sequences = math.prod(operands.leading)
    queries = sequences * operands.num_queries
    per_query = bytes_per_query(operands, options)
    name = choose(operands, options) if implementation == AUTO else implementation
    if implementation != AUTO:
        reason = "asked for"
    else:
        side = "above" if name == "chunked" else "within"
        reason = (
            f"all {queries:,} queries at once would go through an array of "
            f"{_binary(queries * per_query)}, {side} the limit of "
            f"{_binary(REFERENCE_BYTES)}"
        )
    block, blocks = queries, 1
    if name == "chunked":
        block, count = queries_per_block(operands, options)
        blocks = sequences * count
    return Explanation(
        implementation=name,
        reason=reason,
        flops=queries * flops_per_query(operands, options)
        + flops_to_prepare(operands, options),
        argument_bytes=_bytes(operands),
        output_bytes=output_bytes,
        intermediate_bytes=per_query * block,
        queries_per_block=block,
        blocks=blocks,
    )


def _bytes(arrays: Any) -> int:
    return sum(
        leaf.size * jnp.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(arrays)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def _all_integers(values: tuple) -> bool:
    return all(isinstance(value, int) for value in values)


def _binary(count: int) -> str:
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"


def _decimal(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return str(count)
