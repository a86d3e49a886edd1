"""`MultiHeadAttention`: flax's layer of that name, with any score and normaliser."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import export

from attention_jax import masks
from attention_jax.arguments import floating
from attention_jax.attention import AUTO, attention, prepare_keys
from attention_jax.functions import numbers
from attention_jax.functions.head_groups import HeadGroups
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.score import get_score, init_score_params
from attention_jax.nn.kv_cache import KVCache
from attention_jax.statistics import TopK
from attention_jax.types import Array, ArrayLike, Float, Int

_KERNEL_INIT = nnx.initializers.lecun_normal()
_BIAS_INIT = nnx.initializers.zeros_init()


class MultiHeadAttention(nnx.Module):
    """Attention by several heads, each with projections and score parameters of its own.

        context_h = attention(x_q W_query_h, x_k W_key_h, x_v W_value_h)
        output = Σ_h context_h W_out_h

        layer = MultiHeadAttention(8, 512, score="additive", rngs=nnx.Rngs(0))
        output = layer(x, mask=masks.causal())       # [B, T, 512] -> [B, T, 512]

    With the score "scaled_dot" it is `flax.nnx.MultiHeadAttention`: the parameters of
    `query`, `key`, `value` and `out` have the same names, shapes and initial values, and
    `nnx.update(layer, nnx.state(flax_layer, nnx.Param))` copies them. Unlike there, a query
    with nothing to attend to gets a context of 0, masks are booleans, causality is a mask,
    and decoding is `step`, a function of a cache.

    Attributes: `query`, `key`, `value`, `out` (nnx.LinearGeneral); `score`, `normalizer`;
    `score_params`, the score's parameters by name, each with a leading axis of heads.
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        *,
        in_kv_features: int | None = None,
        num_key_value_heads: int | None = None,
        score: Any = "scaled_dot",
        normalizer: Any = "softmax",
        alignment_size: int | None = None,
        use_bias: bool = True,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = _KERNEL_INIT,
        bias_init: Any = _BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        """Initialises the projections, then the score's parameters.

        Args:
          num_heads: H.
          in_features: of the queries' inputs.
          qkv_features: H · D, of all heads together; in_features if not given.
          out_features: in_features if not given.
          in_kv_features: of the keys' and values' inputs; in_features if not given.
          num_key_value_heads: heads of keys and values, each for H / this number of query
            heads, one after another; H if not given. They are not copied for the query
            heads, unless a score prepares its keys with parameters, a head's own.
          score: anything `get_score` takes; queries and keys are D wide.
          normalizer: anything `get_normalizer` takes.
          alignment_size: A of the score's parameters; D if not given.
          use_bias: of the four projections.
          dropout_rate: share of the weights dropped.
          deterministic: without dropout; `layer.eval()` and `layer.train()` set it.
          dtype: of the computation; that of inputs and parameters if not given.
          param_dtype: of the parameters.
          precision: of every matrix product, as for `attention`.
          kernel_init: of the four kernels.
          bias_init: of the four biases.
          rngs: the stream `params`, and `dropout` if there is dropout.

        Raises:
          ValueError: features are not divisible by heads, or heads by heads of keys.
        """

        def size(name: str, given: Any, default: Any = None) -> int:
            return numbers.count(name, default if given is None else given)

        self.num_heads = size("num_heads", num_heads)
        self.in_features = size("in_features", in_features)
        self.qkv_features = size("qkv_features", qkv_features, in_features)
        self.out_features = size("out_features", out_features, in_features)
        self.in_kv_features = size("in_kv_features", in_kv_features, in_features)
        self.num_key_value_heads = size(
            "num_key_value_heads", num_key_value_heads, num_heads
        )
        for name, divisor in (
            ("qkv_features", "num_heads"),
            ("num_heads", "num_key_value_heads"),
        ):
            if getattr(self, name) % getattr(self, divisor):
                raise ValueError(
                    f"{name} must be divisible by {divisor}, but {name} = "
                    f"{getattr(self, name)} and {divisor} = {getattr(self, divisor)}"
                )
        self.head_features = self.qkv_features // self.num_heads
        self.score = get_score(score)
        self.normalizer = get_normalizer(normalizer)
        self.dropout_rate = dropout_rate
        self.deterministic = deterministic
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision

        def linear(in_features: Any, out_features: Any, axis: Any = -1) -> Any:
            return nnx.LinearGeneral(
                in_features,
                out_features,
                axis=axis,
                use_bias=use_bias,
                dtype=dtype,
                param_dtype=param_dtype,
                kernel_init=kernel_init,
                bias_init=bias_init,
                precision=precision,
                rngs=rngs,
            )

        heads = (self.num_heads, self.head_features)
        key_heads = (self.num_key_value_heads, self.head_features)
        self.query = linear(self.in_features, heads)
        self.key = linear(self.in_kv_features, key_heads)
        self.value = linear(self.in_kv_features, key_heads)
        self.out = linear(heads, self.out_features, axis=(-2, -1))
        width = self.head_features
        alignment_size = size("alignment_size", alignment_size, width)
        values: dict[str, Array] = {}
        if self.score.params:
            values = jax.vmap(
                lambda rng: init_score_params(
                    rng,
                    self.score,
                    query_size=width,
                    key_size=width,
                    value_size=width,
                    alignment_size=alignment_size,
                    dtype=param_dtype,
                )
            )(jax.random.split(rngs.params(), self.num_heads))
        self.score_params = nnx.Dict({n: nnx.Param(x) for n, x in values.items()})
        self.rngs = rngs.dropout.fork() if dropout_rate else None

    def __call__(
        self,
        inputs_q: Float[ArrayLike, "... T F"],
        inputs_k: Any = None,
        inputs_v: Float[ArrayLike, "... S F"] | None = None,
        *,
        mask: Any = None,
        bias: Float[ArrayLike, "... T S"] | None = None,
        query_positions: Int[ArrayLike, "... T"] | None = None,
        key_positions: Int[ArrayLike, "... S"] | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        implementation: str = AUTO,
        chunk_size: int | None = None,
        return_weights: bool = False,
        statistics: Sequence[str | TopK] = (),
    ) -> Any:
        """Projects, attends by every head, and projects the contexts.

        Args:
          inputs_q: [..., T, in_features].
          inputs_k: [..., S, in_kv_features], or a `KVCache`, whose keys and values are
            attended to; inputs_q if not given.
          inputs_v: [..., S, in_kv_features]; inputs_k if not given.
          mask: booleans broadcastable to [..., H, T, S], True = attend, or a mask from
            `attention_jax.masks`. Its lengths and ids have the leading axes of the inputs:
            lengths [B], ids [B, T]. With one axis more, the last of them is of heads.
          bias: floats broadcastable to [..., H, T, S], added to the scores.
          query_positions: integers [..., T]; 0..T−1 if not given.
          key_positions: integers [..., S]; if not given, those of the queries where keys
            are of the same inputs, otherwise 0..S−1.
          deterministic: without dropout; as the layer was made if not given.
          rngs: of dropout; the layer's own if not given.
          implementation: as for `attention`.
          chunk_size: as for `attention`.
          return_weights: also return the weights, [..., H, T, S].
          statistics: also return these, [..., H, T] each; as for `attention`.

        Returns:
          The output, [..., T, out_features]. With `return_weights` or `statistics` an
          `AttentionOutput`, whose `context` is the output.

        Raises:
          ValueError: inputs are not as wide as the layer; and as `attention`.
        """
        inputs_q = _inputs("inputs_q", inputs_q, "T", "in_features", self.in_features)
        overfull = None
        if isinstance(inputs_k, KVCache):
            if inputs_v is not None or key_positions is not None:
                raise ValueError(
                    "a KVCache has values and key_positions of its own: do not give "
                    "inputs_v or key_positions besides"
                )
            cache = inputs_k
            keys, values, key_positions = cache.keys, cache.values, cache.positions
            filled = masks.padding(cache.length)
            mask = filled if mask is None else masks.as_mask(mask) & filled
            overfull = cache.length > cache.max_length
        else:
            if inputs_k is None:
                if inputs_v is not None:
                    raise ValueError("inputs_v is given, but not inputs_k: give it too")
                inputs_k = inputs_q
                key_positions = (
                    query_positions if key_positions is None else key_positions
                )
            keys, values = self._keys_and_values(inputs_k, inputs_v)
        groups = self._groups
        query = groups.split("query", self.query(inputs_q).swapaxes(-3, -2), 2)
        num_batch = max(inputs_q.ndim, values.ndim - 1 - groups.splits) - 2

        def with_heads(array: Array, core: int) -> Array:
            """[..., *core] with an axis for the heads, if it is of the inputs alone."""
            if core < array.ndim <= num_batch + core:
                return jnp.expand_dims(array, array.ndim - core)
            return array

        if mask is not None:
            mask = masks.as_mask(mask).map_leaves(
                lambda leaf, axes: leaf if axes == "TS" else with_heads(leaf, len(axes))
            )
            mask = groups.mask(mask)
        if bias is not None:
            bias = groups.split("bias", floating("bias", bias), 2)
        positions: dict[str, Any] = {
            "query_positions": query_positions,
            "key_positions": key_positions,
        }
        for name, given in positions.items():
            if given is not None:
                array = with_heads(numbers.integers(name, given), 1)
                positions[name] = groups.split(name, array, 1)
        if deterministic is None:
            deterministic = self.deterministic
        drops = self.dropout_rate and not deterministic
        found = attention(
            query,
            keys,
            values,
            score=groups.score(self.score),
            normalizer=self.normalizer,
            params=self._params(),
            mask=mask,
            bias=bias,
            **positions,
            precision=self.precision,
            dropout_rate=self.dropout_rate if drops else 0.0,
            dropout_rng=self._dropout_rng(rngs) if drops else None,
            implementation=implementation,
            chunk_size=chunk_size,
            return_weights=return_weights,
            statistics=statistics,
        )
        axis = found.context.ndim - (4 if groups.splits else 3)
        found = jax.tree.map(lambda x: groups.joined(x, axis), found)
        output = self.out(found.context.swapaxes(-3, -2))
        if overfull is not None:
            output = jnp.where(overfull, jnp.nan, output)
        if return_weights or statistics:
            return found._replace(context=output)
        return output

    def init_cache(
        self, batch_shape: int | Sequence[int], max_length: int, dtype: Any = None
    ) -> KVCache:
        """An empty cache with room for `max_length` tokens of each sequence.

        Args:
          batch_shape: the leading axes of the inputs, (B,) or B; `jax.export`'s symbols too.
          max_length: S.
          dtype: what keys and values are stored in; what they are computed in if not given.
        """
        if not isinstance(batch_shape, Sequence):
            batch_shape = (batch_shape,)
        batch = tuple(
            size if export.is_symbolic_dim(size) else numbers.count("batch_shape", size)
            for size in batch_shape
        )
        shape = (*batch, numbers.count("max_length", max_length))
        kind = self.param_dtype if self.dtype is None else self.dtype
        inputs = jax.ShapeDtypeStruct((*shape, self.in_kv_features), kind)

        def empty(leaf: Any) -> Array:
            floats = dtype is not None and jnp.issubdtype(leaf.dtype, jnp.floating)
            return jnp.zeros(leaf.shape, dtype if floats else leaf.dtype)

        keys, values = jax.tree.map(empty, jax.eval_shape(self._prepared, inputs))
        return KVCache(keys, values, jnp.zeros(shape, jnp.int32), jnp.int32(0))

    def extend(
        self,
        cache: KVCache,
        inputs_k: Float[ArrayLike, "... T F"],
        inputs_v: Float[ArrayLike, "... T F"] | None = None,
        *,
        positions: Int[ArrayLike, "... T"] | None = None,
    ) -> KVCache:
        """The cache with the keys and values of T more tokens.

            memory = layer.extend(layer.init_cache(B, S), encoded)    # S tokens, once
            output = layer(x, memory)                                 # at every step

        Args:
          cache: a cache of this layer.
          inputs_k: [..., T, in_kv_features].
          inputs_v: [..., T, in_kv_features]; inputs_k if not given.
          positions: integers [..., T]; those after the tokens that there are if not given.

        Raises:
          ValueError: the cache is full, or is not of this layer or batch. What is beyond a
            length that is traced cannot be seen: then all that is attended to is NaN.
        """
        keys, values = self._prepared(inputs_k, inputs_v)
        batch, inputs_batch = cache.positions.shape[:-1], jnp.shape(inputs_k)[:-2]
        if inputs_batch != batch:
            raise ValueError(
                f"the inputs must have the leading axes {list(batch)}, the cache's "
                f"batch_shape, but theirs are {list(inputs_batch)}"
            )
        shape = (*batch, values.shape[-2])
        if positions is None:
            positions = cache.next_positions(shape[-1])
        positions = numbers.integers("positions", positions)
        try:
            positions = jnp.broadcast_to(positions, shape)
        except ValueError as error:
            raise ValueError(
                f"positions must be broadcastable to {list(shape)}, "
                f"but the shape is {positions.shape}"
            ) from error
        return cache.extended(keys, values, positions)

    def step(
        self,
        inputs_q: Float[ArrayLike, "... T F"],
        cache: KVCache,
        *,
        mask: Any = None,
        positions: Int[ArrayLike, "... T"] | None = None,
        **arguments: Any,
    ) -> tuple[Any, KVCache]:
        """Self-attention of T more tokens to those in the cache and to themselves.

            cache = layer.init_cache(B, max_length)
            output, cache = layer.step(prompt, cache)            # [B, T, F], any T
            output, cache = layer.step(token, cache)             # [B, 1, F]

        Steps give the rows of one call on all tokens with the same mask, if it allows no
        token that comes later. There is no dropout. In jit and scan as well.

        Args:
          inputs_q: [..., T, in_features].
          cache: from `init_cache`, or the step before.
          mask: as for the call, with the S = max_length places of the cache as keys, of
            which those that are not filled are not attended to. `masks.causal()` if not
            given.
          positions: integers [..., T], of these tokens; those after the tokens that there
            are if not given. After prompts of different lengths, padded to one, these are
            each sequence's own, and the mask leaves out the padding's places.
          **arguments: bias, implementation, chunk_size, return_weights, statistics: as for
            the call.

        Returns:
          What the call returns, and the cache with these tokens.

        Raises:
          ValueError: as `extend`.
        """
        inputs_q = _inputs("inputs_q", inputs_q, "T", "in_features", self.in_features)
        if positions is None:
            positions = cache.next_positions(inputs_q.shape[-2])
        cache = self.extend(cache, inputs_q, positions=positions)
        output = self(
            inputs_q,
            cache,
            mask=masks.causal() if mask is None else mask,
            query_positions=positions,
            deterministic=True,
            **arguments,
        )
        return output, cache

    @property
    def _groups(self) -> HeadGroups:
        return HeadGroups(self.num_heads, self.num_key_value_heads)

    def _params(self) -> dict[str, Array]:
        """The score's parameters as arrays, by groups of heads."""
        arrays = {name: self.score_params[name][...] for name in self.score.param_names}
        return self._groups.params(self.score, arrays)

    def _keys_and_values(self, inputs_k: Any, inputs_v: Any) -> tuple[Array, Array]:
        """The projections, [..., heads, S, D]."""
        expected = ("S", "in_kv_features", self.in_kv_features)
        inputs_k = _inputs("inputs_k", inputs_k, *expected)
        if inputs_v is None:
            inputs_v = inputs_k
        else:
            inputs_v = _inputs("inputs_v", inputs_v, *expected)
        projected = self.key(inputs_k), self.value(inputs_v)
        keys, values = (self._groups.keys(x.swapaxes(-3, -2)) for x in projected)
        return keys, values

    def _prepared(self, inputs_k: Any, inputs_v: Any = None) -> tuple[Any, Array]:
        keys, values = self._keys_and_values(inputs_k, inputs_v)
        return prepare_keys(self.score, keys, self._params()), values

    def _dropout_rng(self, rngs: Any) -> Array:
        if rngs is None:
            rngs = self.rngs
        return rngs.dropout() if isinstance(rngs, nnx.Rngs) else rngs()


def _inputs(name: str, inputs: Any, length: str, features: str, expected: int) -> Array:
    """The inputs as a floating-point array of as many features as expected."""
    array = floating(name, inputs)
    if array.ndim < 2 or array.shape[-1] != expected:
        raise ValueError(
            f"{name} must be [..., {length}, {features}] with {features} = {expected}, "
            f"but the shape is {array.shape}"
        )
    return array
