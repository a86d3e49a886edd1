"""What one call of `attention` would do, and what it costs, as `explain_attention` returns it."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.arguments import Operands, Options
from attention_jax.kernels import cost_model
from attention_jax.kernels.chunked import group_leading


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
      queries_per_block: how many queries are computed at once: of one sequence, or all of
        several, by `chunked`, all there are by `reference`.
      blocks: how many such blocks there are, over all sequences.
      note: what to look at: axes that seem to be in another order, or a function for which
        masked keys are computed; "" if nothing.
    """

    implementation: str
    reason: str
    flops: int
    argument_bytes: int
    output_bytes: int
    intermediate_bytes: int
    queries_per_block: int
    blocks: int
    note: str = ""

    def __str__(self) -> str:
        return "\n".join(
            (
                f"implementation  {self.implementation}: {self.reason}",
                f"FLOPs           {_decimal(self.flops)}, forward, masked keys counted",
                f"arguments       {_binary(self.argument_bytes)}",
                f"outputs         {_binary(self.output_bytes)}",
                f"intermediates   at most {_binary(self.intermediate_bytes)} each",
                f"blocks          {self.blocks:,} of {self.queries_per_block:,} queries",
                *([f"note            {self.note}"] if self.note else []),
            )
        )


def explain(
    operands: Operands, options: Options, name: str, outputs: Any, *, by_auto: bool
) -> Explanation:
    """The explanation of a checked call.

    Args:
      operands, options: of the call.
      name: of the kernel.
      by_auto: whether `auto` picked it.
      outputs: the result's shapes and dtypes.
    """
    leading = operands.leading(options.score)
    sequences = math.prod(leading)
    queries = sequences * operands.num_queries
    per_query = cost_model.bytes_per_query(operands, options)
    reason = "asked for"
    if by_auto:
        side = "above" if name == "chunked" else "within"
        reason = (
            f"all {queries:,} queries at once would go through an array of "
            f"{_binary(queries * per_query)}, {side} the limit of "
            f"{_binary(cost_model.reference_limit(operands, per_query))}"
        )
    block, blocks = queries, 1
    if name == "chunked":
        plan = cost_model.plan_blocks(operands, options)
        outer, inner = group_leading(leading, plan.sequences)
        block = math.prod(inner) * plan.queries
        blocks = math.prod(outer) * plan.blocks
    return Explanation(
        implementation=name,
        reason=reason,
        flops=cost_model.flops(operands, options),
        argument_bytes=_bytes(operands),
        output_bytes=_bytes(outputs),
        intermediate_bytes=per_query * block,
        queries_per_block=block,
        blocks=blocks,
        note=_note_on_layout(operands) or _note_on_masked_keys(operands, options, name),
    )


def _note_on_layout(operands: Operands) -> str:
    """That more heads than queries and keys look like heads in the last axis but one."""
    if operands.query.ndim != 4 or len(operands.key_leading) != 2:
        return ""
    (_, heads, queries, _), (_, key_heads) = operands.query.shape, operands.key_leading
    if heads <= queries or key_heads <= operands.num_keys:
        return ""
    return (
        f"read as [B, heads, T, features]: {heads} heads of {queries} queries and "
        f"{operands.num_keys} keys each. If the arrays are [B, T, heads, features], "
        "dot_product_attention takes them"
    )


def _note_on_masked_keys(operands: Operands, options: Options, name: str) -> str:
    """Why `chunked` cannot leave out the keys that a mask forbids, if it cannot."""
    if name != "chunked" or operands.mask is None:
        return ""
    for kind in ("score", "normalizer"):
        function = getattr(options, kind)
        if not function.block_sparse:
            return (
                f"masked keys are computed too, since the {kind} {function.name!r} is not "
                f"declared block_sparse; see register_{kind}"
            )
    if operands.dropout_rng is not None:
        return "masked keys are computed too, since there is dropout"
    return ""


def _bytes(arrays: Any) -> int:
    return sum(
        leaf.size * jnp.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(arrays)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


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
