"""`KVCache`: the keys and values of the tokens so far, prepared once, for decoding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from attention_jax.functions.prepared import PreparedKeys
from attention_jax.types import Array, Float, Int


class KVCache(NamedTuple):
    """The keys and values of the tokens so far, with room for S of them; a pytree.

    Made by `MultiHeadAttention.init_cache`, filled by its `step` and `extend`. It is a
    value: these return another. The cache of some of the sequences, for a beam:
    `jax.tree.map(lambda x: x[chosen] if x.ndim else x, cache)`.

    Attributes:
      keys: each head's projected keys, with all that the score does to keys alone.
      values: each head's projected values, [..., heads, S, V].
      positions: [..., S], the positions of the tokens in their sequences.
      length: how many of the S are filled, the first ones; int32, one for all sequences.
    """

    keys: PreparedKeys
    values: Float[Array, "... S V"]
    positions: Int[Array, "... S"]
    length: Int[Array, ""]

    @property
    def max_length(self) -> int:
        """S."""
        return self.values.shape[-2]

    def next_positions(self, count: int) -> Int[Array, "T"]:
        """The places of `count` more tokens."""
        return self.length + jnp.arange(count, dtype=jnp.int32)

    def extended(
        self,
        keys: PreparedKeys,
        values: Float[Array, "... T V"],
        positions: Int[Array, "... T"],
    ) -> "KVCache":
        """The cache with T more tokens, in its dtypes and divided among devices as it is.

        Raises:
          ValueError: there is no room for them, as far as that can be seen: not if `length`
            is traced and T ≤ S. Or they are not shaped as what is there.
        """
        count = values.shape[-2]
        filled = 0 if isinstance(self.length, jax.core.Tracer) else int(self.length)
        if filled + count > self.max_length:
            holds = f" that holds {filled}" if filled else ""
            raise ValueError(
                f"{count} tokens do not fit into a cache of max_length = "
                f"{self.max_length}{holds}"
            )
        if self.keys.score.prepare != keys.score.prepare:
            raise ValueError(
                f"the cache was made for the score {self.keys.score!r}, "
                f"not for {keys.score!r}"
            )

        def written(old: Array, new: Array, core: int) -> Array:
            axis = old.ndim - core
            expected = (*old.shape[:axis], count, *old.shape[axis + 1 :])
            if new.shape != expected:
                raise ValueError(
                    f"the cache was made for arrays {list(expected)} of {count} tokens, "
                    f"but these are {list(new.shape)}: its batch_shape or layer is another"
                )
            new = new.astype(old.dtype)
            sharding = jax.typeof(old).sharding
            if sharding.mesh.explicit_axes:
                new = jax.sharding.reshard(new, sharding)
            return jax.lax.dynamic_update_slice_in_dim(old, new, self.length, axis)

        old, tree = jax.tree.flatten(self.keys)
        leaves = map(written, old, keys.leaves, keys.core_ndims)
        return KVCache(
            jax.tree.unflatten(tree, leaves),
            written(self.values, values, 2),
            written(self.positions, positions, 1),
            self.length + jnp.int32(count),
        )


export.register_namedtuple_serialization(
    KVCache, serialized_name="attention_jax.KVCache"
)
