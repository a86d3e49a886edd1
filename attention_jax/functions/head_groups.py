"""Query heads that share key heads: their axis as two, [key heads, query heads of each].

Keys and values [..., key heads, 1, S, D] broadcast against that without being copied.
"""

import dataclasses
from typing import Any

from attention_jax.functions import static_args
from attention_jax.functions.score import Score, call_inner, wrap
from attention_jax.types import Array


@dataclasses.dataclass(frozen=True)
class HeadGroups:
    """How many heads there are of each kind.

    One key head, or as many as query heads, need no groups: everything stays as it is.
    """

    num_heads: int
    num_key_heads: int

    @property
    def splits(self) -> bool:
        return 1 < self.num_key_heads < self.num_heads

    def split(self, name: str, array: Array, core: int) -> Array:
        """[..., heads or 1, *core] by groups; without leading axes as it is.

        Raises:
          ValueError: there are other numbers of heads.
        """
        if not self.splits or array.ndim <= core:
            return array
        *leading, heads = array.shape[: array.ndim - core]
        if heads not in (1, self.num_heads):
            raise ValueError(
                f"{name} must have leading axes that end in the {self.num_heads} heads of "
                f"the query, or in 1, but the shape is {array.shape}"
            )
        size = self.num_heads // self.num_key_heads
        parts = (1, 1) if heads == 1 else (self.num_key_heads, size)
        return array.reshape(*leading, *parts, *array.shape[array.ndim - core :])

    def keys(self, array: Array) -> Array:
        """Keys or values [..., key heads, S, D], to broadcast against groups."""
        return array[..., None, :, :] if self.splits else array

    def joined(self, array: Array, axis: int) -> Array:
        """The heads of a result, which begin at `axis`, as one axis again."""
        if not self.splits:
            return array
        return array.reshape(
            *array.shape[:axis], self.num_heads, *array.shape[axis + 2 :]
        )

    def mask(self, mask: Any) -> Any:
        """A mask with leading axes that end in heads, or None."""
        if mask is None:
            return None
        return mask.map_leaves(lambda leaf, axes: self.split("mask", leaf, len(axes)))

    def params(self, score: Score, params: dict[str, Array]) -> dict[str, Array]:
        """The parameters of a score, complete."""
        return {
            name: self.split(f"params[{name!r}]", params[name], core)
            for name, core in score.param_ndims.items()
        }

    def score(self, score: Score) -> Score:
        """A score whose numbers are by groups, and whose index of the head is one."""
        if not self.splits:
            return score
        if score.numbers:
            grouped = {
                name: self.split(f"{name.partition('.')[0]} of {score.name}", number, 0)
                for name, number in static_args.thaw(score.numbers).items()
            }
            frozen = static_args.freeze(grouped, owner=f"score {score.name!r}")
            score = dataclasses.replace(score, numbers=frozen)
        if score.leading_indices:
            size = self.num_heads // self.num_key_heads
            score = wrap(score, _with_one_head_index, block_sparse=True, size=size)
        return score


def _with_one_head_index(query, keys, *, score, size, leading_indices, **arguments):
    *outer, key_head, within = leading_indices
    arguments["leading_indices"] = (*outer, key_head * size + within)
    return call_inner(score, query, keys, arguments)
