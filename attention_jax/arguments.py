"""The arguments of one attention call: listed once, checked once, before any library's checks.

`AttentionCall` holds them as given. `check` makes of them `Operands`, the arrays to trace, and
`Options`, what a compiled attention is specialised on.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
from attention_jax.errors import unknown_name
from attention_jax.functions import numbers, static_args
from attention_jax.functions.normalizer import Normalizer, get_normalizer
from attention_jax.functions.params import AXES
from attention_jax.functions.prepared import PreparedKeys, run_prepare
from attention_jax.functions.score import LEADING_INDICES, Score, get_score
from attention_jax.masks import Mask
from attention_jax.statistics import TopK, statistic_names, top_k
from attention_jax.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Operands:
    """Everything that may be traced, of a call or a block; leading axes not yet broadcast.

    Attributes:
      query: [..., T, Q]. keys: [..., S, K] or PreparedKeys. values: [..., S, V].
      params: the score's parameters, complete and in shape.
      mask: a Mask or None.
      query_positions: [..., T]. key_positions: [..., S].
      dropout_rng: a typed PRNG key, or None without dropout.
      bias: [..., T or 1, S or 1], added to the scores, or None.
      extras: what the score takes besides params and positions, numbers [...] each.
      row_indices: [..., T], the numbers that dropout draws a query's keys from, so that it
        does not depend on how rows are grouped; None for 0, 1, ... over all sequences.
      valid: [T], which rows are no padding and count in sums over rows; None for all.
    """

    query: Array
    keys: Array | PreparedKeys
    values: Array
    params: dict[str, Array]
    mask: Mask | None
    query_positions: Array
    key_positions: Array
    dropout_rng: Array | None
    bias: Array | None = None
    extras: dict[str, Any] = dataclasses.field(default_factory=dict)
    row_indices: Array | None = None
    valid: Array | None = None

    @property
    def num_queries(self) -> int:
        return self.query.shape[-2]

    @property
    def num_keys(self) -> int:
        return self.values.shape[-2]

    @property
    def key_leading(self) -> tuple[int, ...]:
        if isinstance(self.keys, PreparedKeys):
            return self.keys.leading
        return self.keys.shape[:-2]

    @property
    def explicit_mesh(self) -> Any:
        """The mesh that divides some of the arrays by axes of type Explicit, or None."""
        for leaf in jax.tree.leaves(self):
            sharding = jax.typeof(leaf).sharding
            if sharding.mesh.explicit_axes and any(sharding.spec):
                return sharding.mesh
        return None

    def leading(self, score: Score) -> tuple[int, ...]:
        """The result's leading axes: those of everything but masks and biases, broadcast."""
        ndims = score.param_ndims if self.params else {}
        return jnp.broadcast_shapes(
            self.query.shape[:-2],
            self.key_leading,
            self.values.shape[:-2],
            *(
                self.params[name].shape[: self.params[name].ndim - core]
                for name, core in ndims.items()
            ),
            *(number.shape for number in jax.tree.leaves(self.extras)),
        )

    def prepared(self, score: Score) -> "Operands":
        """The same in promote(query dtype, float32), with the keys prepared."""
        dtype = compute_dtype(self.query)
        params = {name: value.astype(dtype) for name, value in self.params.items()}
        bias = None if self.bias is None else self.bias.astype(dtype)
        extras = {
            name: value if name == LEADING_INDICES else value.astype(dtype)
            for name, value in self.extras.items()
        }
        keys = self.keys
        if isinstance(keys, PreparedKeys):
            keys = keys.astype(dtype)
        elif score.prepare is None:
            keys = PreparedKeys(keys.astype(dtype), score, (2,))
        else:
            keys = run_prepare(score, keys.astype(dtype), params)
        return dataclasses.replace(
            self,
            query=self.query.astype(dtype),
            keys=keys,
            values=self.values.astype(dtype),
            params=params,
            bias=bias,
            extras=extras,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Options(static_args.ByIdentity):
    """What a compiled attention is specialised on; equal options share it."""

    score: Score
    normalizer: Normalizer
    dropout_rate: float = 0.0
    return_weights: bool = False
    statistics: tuple[str | TopK, ...] = ()
    chunk_size: int | None = None
    precision: str | None = None

    def default_precision(self) -> contextlib.AbstractContextManager:
        """The context in which products have the precision asked for."""
        if self.precision is None:
            return contextlib.nullcontext()
        return jax.default_matmul_precision(self.precision)


@dataclasses.dataclass(frozen=True)
class AttentionCall:
    """The arguments of `attention`, which explains them, as given."""

    query: Any
    keys: Any
    values: Any
    score: Any = "scaled_dot"
    normalizer: Any = "softmax"
    params: Any = None
    mask: Any = None
    bias: Any = None
    query_positions: Any = None
    key_positions: Any = None
    precision: Any = None
    dropout_rate: Any = 0.0
    dropout_rng: Any = None
    implementation: str = "auto"
    chunk_size: Any = None
    return_weights: Any = False
    statistics: Any = ()

    def check(self) -> tuple[Operands, Options]:
        """The arguments as arrays of fitting shapes and dtypes, and the options.

        Raises:
          ValueError, TypeError, UnknownNameError: as `attention` says. An unknown
          implementation is the dispatcher's to find.
        """
        options = Options(
            score=get_score(self.score),
            normalizer=get_normalizer(self.normalizer),
            dropout_rate=_check_rate(self.dropout_rate, self.dropout_rng),
            return_weights=bool(self.return_weights),
            statistics=_check_statistics(self.statistics),
            chunk_size=None
            if self.chunk_size is None
            else numbers.count("chunk_size", self.chunk_size),
            precision=_check_precision(self.precision),
        )
        score = options.score
        query, values = floating("query", self.query), floating("values", self.values)
        _check_axes("query", query, "T, Q")
        _check_axes("values", values, "S, V")
        if isinstance(self.keys, PreparedKeys):
            keys = self.keys
            if keys.score.prepare != score.prepare:
                raise ValueError(
                    f"keys were prepared for the score {keys.score!r}, not for {score!r}"
                )
            num_keys, key_size, key_leading = keys.length, None, keys.leading
        else:
            keys = floating("keys", self.keys)
            _check_axes("keys", keys, "S, K")
            *key_leading, num_keys, key_size = keys.shape
        if values.shape[-2] != num_keys:
            raise ValueError(
                "keys and values must be equally many along axis -2, but there are "
                f"{num_keys} keys and values of shape {values.shape}"
            )
        sizes = {"Q": query.shape[-1], "K": key_size}
        params = check_params(score, self.params, sizes)
        varying: dict[str, Array] = {}
        if score.numbers:
            thawed = static_args.thaw(score.numbers)
            dtype = compute_dtype(query)
            varying = {
                name: jnp.asarray(numbers.within(value, dtype))
                for name, value in thawed.items()
            }
        leading = _broadcast_leading(
            query=query.shape[:-2],
            keys=tuple(key_leading),
            values=values.shape[:-2],
            **{
                f"params[{name!r}]": params[name].shape[: params[name].ndim - core]
                for name, core in (score.param_ndims if params else {}).items()
                if params[name].ndim > core
            },
            **{
                f"{name.partition('.')[0]} of {score.name}": number.shape
                for name, number in varying.items()
            },
        )
        lengths = {"T": query.shape[-2], "S": num_keys}
        positions = {
            name: _check_positions(name, given, length, leading)
            for name, given, length in (
                ("query_positions", self.query_positions, lengths["T"]),
                ("key_positions", self.key_positions, num_keys),
            )
        }
        wider = max((x.dtype for x in positions.values()), key=lambda d: d.itemsize)
        positions = {name: x.astype(wider) for name, x in positions.items()}
        mask = None if self.mask is None else masks.as_mask(self.mask)
        if mask is not None:
            _check_mask(mask, lengths, leading)
        extras: dict[str, Any] = dict(varying)
        if score.leading_indices:
            extras[LEADING_INDICES] = tuple(
                jnp.arange(size).reshape((-1,) + (1,) * (len(leading) - 1 - axis))
                for axis, size in enumerate(leading)
            )
        bias = None
        if self.bias is not None:
            bias, expected = floating("bias", self.bias), (*leading, *lengths.values())
            bias = broadcastable("bias", bias, expected, "..., T, S", 2)
        drops = options.dropout_rate > 0
        rng = _as_typed_key(self.dropout_rng) if drops else None
        operands = Operands(
            query,
            keys,
            values,
            params,
            mask,
            **positions,
            dropout_rng=rng,
            bias=bias,
            extras=extras,
        )
        return operands, options


def floating(name: str, value: Any) -> Array:
    """`value` as a JAX array.

    Raises:
      TypeError: it is not an array, or not of a floating-point dtype.
    """
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating-point, but the dtype is {array.dtype}"
        )
    return array


def as_array(name: str, value: Any) -> Array:
    """`value` as a JAX array.

    Raises:
      TypeError: it holds something other than numbers and booleans.
      ValueError: its rows are of unequal length.
    """
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, str) or value is None or isinstance(value, Mapping):
        raise TypeError(f"{name} must be an array, not {type(value).__name__}")
    try:
        if isinstance(value, np.ndarray) and not value.dtype.isnative:
            value = value.astype(value.dtype.newbyteorder("="))
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        # Strings, objects, dates (TypeError) and ragged lists (ValueError).
        came = f"dtype {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
        raise type(error)(
            f"{name} must be an array of numbers, got {came:.200}"
        ) from error


def compute_dtype(query: Array) -> Any:
    """promote(query dtype, float32): what everything is computed in."""
    # Spelt out, since promote_types refuses mixed types under strict dtype promotion.
    return jnp.dtype(jnp.float64 if query.dtype == jnp.float64 else jnp.float32)


def check_params(
    score: Score, params: Any, sizes: Mapping[str, int | None]
) -> dict[str, Array]:
    """The score's parameters as arrays, in the order of their declaration.

    Args:
      score: whose parameters.
      params: what was given for them.
      sizes: the lengths that are known, by axis letter.

    Raises:
      ValueError: one is missing, unknown or misshapen.
      TypeError: params is not a mapping, or one is not floating-point.
    """
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise TypeError(
            f"params must be a dict of arrays or None, not {type(params).__name__}"
        )
    names = score.param_names
    missing = [name for name in names if name not in params]
    extra = sorted(map(str, set(params) - set(names)))
    if missing:
        unknown = f"; unknown: {', '.join(extra)}" * bool(extra)
        raise ValueError(
            f"the score {score.name!r} needs the params {', '.join(names)}; "
            f"missing: {', '.join(missing)}{unknown}. init_score_params makes them."
        )
    if extra:
        takes = ", ".join(names) or "none"
        raise ValueError(
            f"unknown params for the score {score.name!r}: {', '.join(extra)}; "
            f"it takes {takes}"
        )
    arrays = {name: floating(f"params[{name!r}]", params[name]) for name in names}
    lengths = dict(sizes)
    for name, param in score.params:
        _check_param_shape(score, name, param.axes, arrays[name], lengths)
    return arrays


def _check_param_shape(
    score: Score, name: str, axes: str, array: Array, lengths: dict[str, int | None]
) -> None:
    """Binds each axis letter to one length over all parameters."""
    first = array.ndim - len(axes)
    if first < 0:
        raise ValueError(
            f"params[{name!r}] of the score {score.name!r} must have the axes "
            f"[..., {', '.join(axes)}], but its shape is {array.shape}"
        )
    for axis, letter in enumerate(axes, first):
        length = array.shape[axis]
        expected = lengths.get(letter)
        if expected is None:
            lengths[letter] = length
        elif length != expected:
            raise ValueError(
                f"params[{name!r}] of the score {score.name!r}: axis {axis} is "
                f"{letter} ({AXES[letter][0]}) and must be {expected}, "
                f"but the shape is {array.shape}"
            )


def _check_axes(name: str, array: Array, axes: str) -> None:
    if array.ndim < 2:
        raise ValueError(
            f"{name} must be [..., {axes}], but the shape is {array.shape}"
        )


def _broadcast_leading(**leading: tuple[int, ...]) -> tuple[int, ...]:
    """The common leading shape; the error names every argument's leading axes."""
    try:
        return jnp.broadcast_shapes(*leading.values())
    except ValueError:
        listed = ", ".join(f"{name} {shape}" for name, shape in leading.items())
        hint = ""
        if len(leading["query"]) == len(leading["keys"]) == 2:
            hint = "; dot_product_attention takes [B, T, heads, features]"
        raise ValueError(
            f"the leading axes do not broadcast against each other: {listed}{hint}"
        ) from None


def _check_rate(dropout_rate: Any, dropout_rng: Any) -> float:
    if isinstance(dropout_rate, jax.core.Tracer):
        raise TypeError("dropout_rate must be a Python number, not a traced array")
    if isinstance(dropout_rate, bool) or not isinstance(
        dropout_rate, int | float | np.number
    ):
        raise TypeError(f"dropout_rate must be a number, not {dropout_rate!r}")
    if not 0 <= dropout_rate < 1:
        raise ValueError(f"dropout_rate must be in [0, 1), not {dropout_rate}")
    if dropout_rate > 0 and dropout_rng is None:
        raise ValueError("dropout_rate > 0 needs dropout_rng, a PRNG key")
    return float(dropout_rate)


def _check_statistics(statistics: Any) -> tuple[str | TopK, ...]:
    """The requested statistics, each once."""
    if isinstance(statistics, str):
        raise TypeError(
            f"statistics must be a sequence, such as ({statistics!r},), "
            f"not the string {statistics!r}"
        )
    if not isinstance(statistics, Sequence):
        raise TypeError(
            "statistics must be a sequence, such as ('entropy', top_k(3)), "
            f"not {statistics!r}"
        )
    for one in statistics:
        if not isinstance(one, TopK) and one not in statistic_names():
            if one is top_k or one == "top_k":
                raise TypeError("statistics: top_k needs a number, as in top_k(3)")
            raise unknown_name("statistic", one, (*statistic_names(), "top_k"))
    chosen = tuple(dict.fromkeys(statistics))
    if sum(isinstance(one, TopK) for one in chosen) > 1:
        raise ValueError("statistics: top_k can be asked for once only")
    return chosen


def _check_positions(
    name: str, positions: Any, length: int, leading: tuple[int, ...]
) -> Array:
    """Positions as integers [..., length]; counting from 0 if not given."""
    if positions is None:
        return jnp.arange(length)
    array = numbers.integers(name, positions)
    if array.ndim == 0:
        array = jnp.broadcast_to(array, (length,))
    if array.shape[-1] != length or not _broadcasts_to(array.shape[:-1], leading):
        expected = [*leading, length]
        raise ValueError(
            f"{name} must be broadcastable to {expected}, with {length} along the last "
            f"axis, but the shape is {array.shape}"
        )
    return array


def broadcastable(
    name: str, array: Array, expected: tuple[int, ...], axes: str, ndim: int
) -> Array:
    """The array with at least `ndim` axes.

    Raises:
      ValueError: it does not broadcast to the shape expected, that of `axes`.
    """
    if not _broadcasts_to(array.shape, expected):
        raise ValueError(
            f"{name} must be broadcastable to [{axes}] = {list(expected)}, "
            f"but the shape is {array.shape}"
        )
    return array.reshape((1,) * max(0, ndim - array.ndim) + array.shape)


def _check_precision(precision: Any) -> str | None:
    """The name by which `jax.default_matmul_precision` knows it."""
    name = precision
    if isinstance(precision, jax.lax.Precision):
        name = precision.name.lower()
    elif isinstance(precision, jax.lax.DotAlgorithmPreset):
        name = precision.name
    try:
        with jax.default_matmul_precision(name):
            return name
    except (TypeError, ValueError) as error:
        raise ValueError(
            "precision must be None, a jax.lax.Precision, a jax.lax.DotAlgorithmPreset "
            f"or the name of one, such as 'highest', got {precision!r}"
        ) from error


def _check_mask(mask: Mask, lengths: dict[str, int], leading: tuple[int, ...]) -> None:
    """Raises ValueError unless every leaf of the mask fits [..., T, S]."""
    for leaf, axes in zip(jax.tree.leaves(mask), mask.leaf_axes(), strict=True):
        core = leaf.ndim - len(axes)
        may_broadcast = len(axes) == 2
        fits = all(
            length == lengths[letter] or (may_broadcast and length == 1)
            for letter, length in zip(axes, leaf.shape[core:], strict=True)
        )
        if not fits or not _broadcasts_to(leaf.shape[:core], leading):
            expected = [*leading, *(lengths[letter] for letter in axes)]
            names = "".join(f", {letter}" for letter in axes)
            by_batch = fits and leaf.shape[:core] == leading[:1] and len(leading) == 2
            hint = "; for all heads, give it an axis of 1 for them" if by_batch else ""
            raise ValueError(
                f"mask must be broadcastable to [...{names}] = {expected}, "
                f"but the shape is {leaf.shape}{hint}"
            )


def _as_typed_key(rng: Any) -> Array:
    """A PRNG key as a typed one of the default kind; raw uint32 keys are wrapped.

    What the other kinds draw in a `vmap` depends on how many rows are drawn at a time, and
    so would the dropout of a row on the kernel and its blocks.
    """
    if not (
        isinstance(rng, jax.Array | np.ndarray)
        and jnp.issubdtype(rng.dtype, jax.dtypes.prng_key)
    ):
        try:
            rng = jax.random.wrap_key_data(jnp.asarray(rng))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"dropout_rng must be a PRNG key from jax.random.key: {error}"
            ) from error
    if rng.shape:
        raise ValueError(
            "dropout_rng must be one PRNG key, but is an array of keys of shape "
            f"{rng.shape}; every query draws its own numbers from one"
        )
    if jax.random.key_impl(rng) != "threefry2x32":
        rng = jax.random.wrap_key_data(
            jax.random.bits(rng, (2,), jnp.uint32), impl="threefry2x32"
        )
    return jnp.asarray(rng)


def _broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return jnp.broadcast_shapes(shape, target) == target
    except ValueError:
        return False
