"""Many sentences through few slots: one that is done makes room for the next.

In a batch that is searched from beginning to end, the sentences that are done wait for the
longest. Here a slot that is done takes the next sentence, so that nearly every row of
every step is of use.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.types import Array, Bool

# Trees of arrays with a sentence, or a slot, in front: [N, ...] and [B, ...].
Items = TypeVar("Items")
State = TypeVar("State")
Result = TypeVar("Result")


def search_all(
    items: Items,
    *,
    slots: int,
    begin: Callable[[Items], State],
    advance: Callable[[Items, State], State],
    running: Callable[[State], Bool[Array, " B"]],
    result: Callable[[State], Result],
) -> Result:
    """Searches for a translation of every item; one `lax.while_loop`.

    Args:
      items: the N sentences and what belongs to them, [N, ...].
      slots: B, how many are searched at a time.
      begin: items -> their states, before any step.
      advance: (items, states) -> states after one more step. A row's state may depend on
        that row alone, and stays what it is where it is not running.
      running: states -> whether a further step would do anything.
      result: states -> what is kept of them when they are done.

    Returns:
      what was kept of each item, [N, ...], in the order of the items.

    Takes the items in order: the last to be done should be short.
    """
    number = len(jax.tree.leaves(items)[0])
    slots = min(slots, number)

    def take(tree: Any, index: Array) -> Any:
        return jax.tree.map(lambda leaf: jnp.take(leaf, index, axis=0), tree)

    def where(rows: Array, new: Any, old: Any) -> Any:
        def choose(new: Array, old: Array) -> Array:
            return jnp.where(rows.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        return jax.tree.map(choose, new, old)

    def unfinished(carry: Any) -> Array:
        return jnp.any(carry[0] < number)

    def step(carry: Any) -> Any:
        index, following, held, state, results = carry
        state = advance(held, state)
        done = (index < number) & ~running(state)

        def turn_over() -> Any:
            place = jnp.where(done, index, number)
            kept = jax.tree.map(
                lambda all_, new: all_.at[place].set(new, mode="drop"),
                results,
                result(state),
            )
            order = jnp.cumsum(done, dtype=jnp.int32)
            new = jnp.where(done, jnp.minimum(following + order - 1, number), index)
            fresh = done & (new < number)
            arriving = where(fresh, take(items, jnp.minimum(new, number - 1)), held)
            begun = where(fresh, begin(arriving), state)
            return new, following + order[-1], arriving, begun, kept

        def go_on() -> Any:
            return index, following, held, state, results

        return lax.cond(jnp.any(done), turn_over, go_on)

    first = jnp.arange(slots, dtype=jnp.int32)
    held = take(items, first)
    state = begin(held)
    empty = jax.tree.map(
        lambda leaf: jnp.zeros((number, *leaf.shape[1:]), leaf.dtype),
        jax.eval_shape(result, state),
    )
    carry = first, jnp.int32(slots), held, state, empty
    return lax.while_loop(unfinished, step, carry)[-1]
