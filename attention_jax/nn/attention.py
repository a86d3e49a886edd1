"""`Attention`: a Flax nnx module that holds a score's parameters."""

from typing import Any

from flax import nnx

from attention_jax.attention import AttentionOutput, attention, prepare_keys
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.score import get_score, init_score_params
from attention_jax.types import Array, ArrayLike, Float


class Attention(nnx.Module):
    """`attention_jax.attention` with the score's parameters kept as nnx parameters.

        layer = Attention(64, 32, score="additive", rngs=nnx.Rngs(0))
        context = layer(queries, memory).context

    Attributes: `score`, `normalizer`, and `params`, the score's parameters by name.
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        *,
        score: Any = "scaled_dot",
        normalizer: Any = "softmax",
        rngs: nnx.Rngs,
        **sizes: Any,
    ):
        """Initialises the score's parameters, from one key of the stream `params`.

        Args:
          query_size: Q. key_size: K.
          score: anything `get_score` takes. normalizer: anything `get_normalizer` takes.
          **sizes: `alignment_size`, `dtype`: see `init_score_params`.
        """
        self.score = get_score(score)
        self.normalizer = get_normalizer(normalizer)
        values = init_score_params(
            rngs.params(), self.score, query_size=query_size, key_size=key_size, **sizes
        )
        self.params = nnx.Dict({n: nnx.Param(value) for n, value in values.items()})

    def __call__(
        self,
        query: Float[ArrayLike, "... T Q"],
        keys: Any,
        values: Float[ArrayLike, "... S V"] | None = None,
        **arguments: Any,
    ) -> AttentionOutput:
        """Attends.

        Args:
          query: [..., T, Q]. keys: [..., S, K], or what `prepare` returned.
          values: [..., S, V]; the keys themselves if not given.
          **arguments: `attention`'s, such as mask or statistics.

        Raises:
          ValueError: keys are prepared and no values are given; and as `attention`.
        """
        if values is None:
            if isinstance(keys, PreparedKeys):
                raise ValueError("prepared keys cannot serve as values: pass values")
            values = keys
        return attention(
            query,
            keys,
            values,
            score=self.score,
            normalizer=self.normalizer,
            params=self.arrays(),
            **arguments,
        )

    def prepare(self, keys: Float[ArrayLike, "... S K"]) -> PreparedKeys:
        """The keys with the score's `prepare` done; see `prepare_keys`."""
        return prepare_keys(self.score, keys, self.arrays())

    def arrays(self) -> dict[str, Array]:
        """The score's parameters as plain arrays."""
        # Not by `items`, which nnx.tabulate calls without end
        # (findings/flax_tabulate_recurses.sh).
        return {name: self.params[name][...] for name in self.score.param_names}
