"""Continuous batching: a batch slot whose sentence is done takes the next one."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.decoding.base import Limits, Request
from attention_jax.models.base import Model, Params
from attention_jax.types import Array, Bool, Int

# Trees of arrays with a batch slot in front, [B, ...].
State = TypeVar("State")
Result = TypeVar("Result")


class Item(NamedTuple):
    """What is searched with; leaves [N, ...] of all sentences or [B, ...] in the slots."""

    memory: Any
    # Of the source.
    lengths: Int[Array, " N"]
    limits: Limits
    # What a sentence draws by, or None.
    key: Any


def search_all(
    model: Model,
    params: Params,
    request: Request,
    keys: Any,
    begin: Callable[[Item], State],
    advance: Callable[[Item, State], State],
    running: Callable[[State], Bool[Array, " B"]],
    result: Callable[[State], Result],
) -> Result:
    """Searches for a translation of every sentence; one `lax.while_loop`.

    Takes the N sentences in order, B = request.slots at a time: the last to be done should
    be short.

    Args:
      keys: what each draws by, [N], or None.
      begin: items -> their states, before any step.
      advance: (items, states) -> states after one more step. A row's state may depend on
        that row alone, and stays what it is where it is not running.
      running: states -> whether a further step would do anything.
      result: states -> what is kept of each sentence, [N, ...]; 0 of padding at the end.
    """
    memory, number = _encode_all(model, params, request)
    items = Item(memory, request.source_lengths, request.limits, keys)
    size = len(request.source)
    slots = min(request.slots, size)

    def take(tree: Any, row: Array) -> Any:
        return jax.tree.map(
            lambda leaf: lax.dynamic_slice_in_dim(leaf, row, 1, axis=0), tree
        )

    def step(carry: Any) -> Any:
        index, following, held, state, results = carry
        state = advance(held, state)
        done = (index < number) & ~running(state)
        [where] = jnp.nonzero(done, size=slots)

        def turn_over(place: Array, carry: Any) -> Any:
            index, following, held, state, results = carry
            slot = where[place]
            arriving = take(items, following)
            return (
                index.at[slot].set(jnp.minimum(following, number)),
                following + 1,
                _put(held, slot, arriving),
                _put(state, slot, begin(arriving)),
                _put(results, index[slot], result(take(state, slot))),
            )

        # One slot after the other, in place: a scatter of all rows, or a `cond` around it,
        # copies the whole of what it may change.
        carry = index, following, held, state, results
        return lax.fori_loop(0, jnp.sum(done, dtype=jnp.int32), turn_over, carry)

    first = jnp.arange(slots, dtype=jnp.int32)
    held = jax.tree.map(lambda leaf: leaf[:slots], items)
    state = begin(held)
    empty = jax.tree.map(
        lambda leaf: jnp.zeros((size, *leaf.shape[1:]), leaf.dtype),
        jax.eval_shape(result, state),
    )
    carry = first, jnp.int32(slots), held, state, empty
    return lax.while_loop(lambda c: jnp.any(c[0] < number), step, carry)[-1]


def _encode_all(
    model: Model, params: Params, request: Request
) -> tuple[Any, Int[Array, ""]]:
    """The memory of all sentences, and how many there are before the padding rows.

    Encoded by as many as there are slots, in a loop that ends with the last sentence: a
    program for many sentences then translates one in little time, and to the same bits.
    """
    source, source_lengths = request.source, request.source_lengths
    size = len(source)
    rows = min(request.slots, size)
    counts = jnp.arange(1, size + 1, dtype=jnp.int32)
    number = jnp.max(jnp.where(source_lengths > 0, counts, 0))
    encode = functools.partial(model.encode, params)
    empty = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(encode, source, source_lengths),
    )

    def encode_some(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        start, memory = carry
        # The last ones may be encoded twice.
        start = jnp.minimum(start, size - rows)
        some = encode(
            lax.dynamic_slice_in_dim(source, start, rows),
            lax.dynamic_slice_in_dim(source_lengths, start, rows),
        )
        return start + rows, _put(memory, start, some)

    begin = jnp.int32(0), empty
    return lax.while_loop(lambda c: c[0] < number, encode_some, begin)[1], number


def _put(tree: Any, row: Array, new: Any) -> Any:
    put = functools.partial(lax.dynamic_update_slice_in_dim, start_index=row, axis=0)
    return jax.tree.map(put, tree, new)
