"""The score functions: one query against S keys, e_i = score(q, k_i).

Each is written unbatched, [Q] and [S, K] -> [S]; `vmap` does the rest. Where a score has a
`prepare`, its `keys` argument is what `prepare` returned, so that whatever depends on the
keys alone is computed once per sentence.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.functions import numbers
from attention_jax.functions.params import (
    Param,
    bilinear_normal,
    fan_out_normal,
    log_constant,
)
from attention_jax.functions.score import register_score
from attention_jax.types import Array, Float, Int


@register_score(block_sparse=True)
def dot(query: Float[Array, "Q"], keys: Float[Array, "S Q"]) -> Float[Array, "S"]:
    """The dot product, the first of all scores.

        e_i = q · k_i

    Choose it when queries and keys live in one space of moderate size; its spread grows
    with √Q, which saturates a softmax when Q is large (see `scaled_dot`).

    Args:
      query: one query.
      keys: S keys, as wide as the query.

    Returns:
      Scores [S].

    Raises:
      ValueError: Q differs from K.

    Cost: 2·S·Q FLOPs; nothing larger than the result.
    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, "dot".
    """
    _require_one_size("dot", query, keys)
    return keys @ query


@register_score(block_sparse=True)
def scaled_dot(
    query: Float[Array, "Q"], keys: Float[Array, "S Q"]
) -> Float[Array, "S"]:
    """The dot product at unit variance.

        e_i = q · k_i / √Q

    `dot` divided by √Q, so that independent unit-variance features give unit-variance
    scores at any width. The usual default.

    Args and errors are `dot`'s.
    Cost: 2·S·Q FLOPs; nothing larger than the result.
    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """
    _require_one_size("scaled_dot", query, keys)
    return keys @ (query / math.sqrt(max(query.shape[-1], 1)))


def keys_through_weight(keys: Float[Array, "S K"], *, w: Array) -> Array:
    """W k_i for `bilinear`: [S, K] and W [Q, K] -> [S, Q]."""
    return keys @ w.T


@register_score(
    params={"w": Param("QK", bilinear_normal)},
    prepare=keys_through_weight,
    block_sparse=True,
)
def bilinear(
    query: Float[Array, "Q"], keys: Float[Array, "S Q"], *, w: Float[Array, "Q K"]
) -> Float[Array, "S"]:
    """A learned bilinear form; Luong's "general", also called multiplicative.

        e_i = qᵀ W k_i

    Choose it when query and key sizes differ or the spaces must be related by learning.
    With W = I it is `dot`; with W = UᵀV, `low_rank_bilinear`.

    Args:
      query: one query.
      keys: prepared, W k_i for each key.
      w: the form, [Q, K]; used by `keys_through_weight`.

    Returns:
      Scores [S].

    Cost: 2·S·Q·K FLOPs once per sentence, 2·S·Q per query.
    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, "general".
    """
    del w
    return keys @ query


def keys_through_factor(
    keys: Float[Array, "S K"], *, w_query: Array, w_key: Array
) -> Array:
    """V k_i for `low_rank_bilinear`: [S, K] -> [S, A]."""
    del w_query
    return keys @ w_key


@register_score(
    params={"w_query": Param("QA", bilinear_normal), "w_key": "KA"},
    prepare=keys_through_factor,
    block_sparse=True,
)
def low_rank_bilinear(
    query: Float[Array, "Q"],
    keys: Float[Array, "S A"],
    *,
    w_query: Float[Array, "Q A"],
    w_key: Float[Array, "K A"],
) -> Float[Array, "S"]:
    """A bilinear form of rank at most A.

        e_i = (U q) · (V k_i),   U = w_queryᵀ [A, Q],  V = w_keyᵀ [A, K]

    `bilinear` with W = UᵀV: (Q + K)·A parameters rather than Q·K.

    Args:
      query: one query.
      keys: prepared, V k_i for each key.
      w_query: Uᵀ.
      w_key: Vᵀ, used by `keys_through_factor`.

    Returns:
      Scores [S].

    Cost: 2·S·K·A FLOPs once per sentence, 2·A·(Q + S) per query.
    Source: Kim et al. 2017, arXiv:1610.04325; one head of Vaswani et al. 2017.
    """
    del w_key
    return keys @ (query @ w_query)


def project_keys(
    keys: Float[Array, "S K"], *, w_query: Array, w_key: Array, v: Array
) -> Array:
    """W_k k_i for `additive`: [S, K] -> [S, A]."""
    del w_query, v
    return keys @ w_key


@register_score(
    params={"w_query": "QA", "w_key": "KA", "v": "A"},
    prepare=project_keys,
    block_sparse=True,
)
def additive(
    query: Float[Array, "Q"],
    keys: Float[Array, "S A"],
    *,
    w_query: Float[Array, "Q A"],
    w_key: Float[Array, "K A"],
    v: Float[Array, "A"],
) -> Float[Array, "S"]:
    """A one-layer perceptron; Bahdanau's, also called concat or MLP.

        e_i = vᵀ tanh(W_q q + W_k k_i)

    Choose it when sizes differ and a bounded, non-multiplicative score is wanted; its
    spread does not grow with Q. It costs a tanh per query, key and feature.

    Args:
      query: one query.
      keys: prepared, W_k k_i for each key.
      w_query: W_qᵀ.
      w_key: W_kᵀ, used by `project_keys`.
      v: the output layer.

    Returns:
      Scores [S].

    Cost: 2·S·K·A FLOPs once per sentence; per query 2·Q·A + 4·S·A and S·A tanh, the
    largest intermediate [S, A] if it is not fused into the sum.
    Source: Bahdanau, Cho and Bengio 2015, arXiv:1409.0473.
    """
    del w_key
    # A sum rather than a matmul with v: XLA then fuses the tanh into the reduction.
    precision = jax.config.jax_default_matmul_precision  # pyrefly: ignore
    return _weighted_tanh(query @ w_query, keys, v, precision)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _weighted_tanh(
    query: Float[Array, "A"],
    keys: Float[Array, "S A"],
    v: Float[Array, "A"],
    precision: Any,
) -> Float[Array, "S"]:
    """Σ_a v_a tanh(q_a + k_ia), as a sum that the compiler fuses: no [S, A] is stored.

    `precision` is the derivative's products', which JAX computes outside of the call.
    """
    return jnp.sum(jnp.tanh(query[None, :] + keys) * v[None, :], axis=-1)


@_weighted_tanh.defjvp
def _weighted_tanh_jvp(
    precision: Any, primals: tuple, tangents: tuple
) -> tuple[Array, Array]:
    """The derivative with two of its three terms as products.

    The backward pass is then two matrix products and one sum over an [S, A] per query.
    As three sums, which is what the derivative of the sum above becomes, they share one slow
    fusion on a CPU.
    """
    query, keys, v = primals
    query_dot, keys_dot, v_dot = tangents
    hidden = jax.lax.optimization_barrier(jnp.tanh(query[None, :] + keys))
    slope = jax.lax.optimization_barrier((1 - hidden * hidden) * v[None, :])
    with jax.default_matmul_precision(precision):
        products = slope @ query_dot, hidden @ v_dot
    tangent = products[0] + jnp.sum(slope * keys_dot, axis=-1) + products[1]
    return _weighted_tanh(query, keys, v, precision), tangent


def unit_keys(keys: Float[Array, "S K"], *, log_scale: Array) -> Array:
    """k_i / ‖k_i‖ for `cosine`, 0 where k_i = 0: [S, K] -> [S, K]."""
    del log_scale
    return _unit(keys)


@register_score(
    params={"log_scale": Param("", log_constant(10.0))},
    prepare=unit_keys,
    block_sparse=True,
)
def cosine(
    query: Float[Array, "Q"], keys: Float[Array, "S Q"], *, log_scale: Float[Array, ""]
) -> Float[Array, "S"]:
    """The cosine of the angle between query and key, times a learned positive τ.

        e_i = τ · q · k_i / (‖q‖ ‖k_i‖),   τ = exp(log_scale)

    Choose it when lengths should not matter; scores stay within ±τ. It is `dot` of unit
    vectors. At a zero vector the score is 0 and so is its gradient.

    Args:
      query: one query.
      keys: prepared, the keys at unit length.
      log_scale: log τ; starts at log 10.

    Returns:
      Scores [S] in [−τ, τ].

    Raises:
      ValueError: Q differs from K.

    Vectors of any length that is a number: they are scaled by a power of two before they
    are squared.

    Cost: 5·S·Q FLOPs once per sentence, 2·S·Q + 5·Q per query.
    Source: Graves, Wayne and Danihelka 2014, arXiv:1410.5401, with a learned τ as in
    Henry et al. 2020, arXiv:2010.04245.
    """
    _require_one_size("cosine", query, keys)
    return keys @ (jnp.exp(log_scale) * _unit(query))


def keys_with_squared_norms(
    keys: Float[Array, "S K"], *, log_sigma: Array
) -> tuple[Array, Array]:
    """(k_i, ‖k_i‖²) for `euclidean`: [S, K] -> [S, K], [S]."""
    del log_sigma
    return keys, jnp.sum(keys * keys, axis=-1)


@register_score(
    params={"log_sigma": Param("", log_constant(4.0))},
    prepare=keys_with_squared_norms,
    block_sparse=True,
)
def euclidean(
    query: Float[Array, "Q"],
    keys: tuple[Float[Array, "S Q"], Float[Array, "S"]],
    *,
    log_sigma: Float[Array, ""],
) -> Float[Array, "S"]:
    """The negative squared distance: the log of a Gaussian (RBF) kernel.

        e_i = −‖q − k_i‖² / (2σ²),   σ = exp(log_sigma)

    Choose it when nearness should count rather than alignment. With softmax it is a
    Nadaraya–Watson estimate; with keys of one length it is a scaled `dot`, since a
    constant added to all scores leaves a softmax unchanged.

    Args:
      query: one query.
      keys: prepared, the keys and their squared lengths.
      log_sigma: log σ; starts at log 4, so that unit-variance features of a few hundred
        dimensions give scores of about unit spread.

    Returns:
      Scores [S], at most 0 up to rounding of (‖q‖² + ‖k_i‖²) / (2σ²), lengths from the
      keys' common centre where that is far from 0.

    Raises:
      ValueError: Q differs from K.

    Cost: 2·S·Q FLOPs once per sentence and 2·S·Q per query. The square is expanded so
    that this is a matmul. For the centre, 6·S·Q once per block of queries and 6·S per
    query; nothing larger than keys and scores.
    Source: Tsai et al. 2019, arXiv:1908.11775.
    """
    vectors, squared_norms = keys
    _require_one_size("euclidean", query, vectors)
    # Of points far from 0 and near each other, the expanded square would be rounding errors.
    # Such a point p is replaced by p − c; between one point moved and one that is not,
    # ‖q − k‖² = ‖q' − k' ± c‖².
    centre = _far_centre(*jax.lax.stop_gradient(keys))
    query, squared, query_moved = _moved(query, jnp.sum(query * query), centre)
    vectors, squared_norms, moved = _moved(vectors, squared_norms, centre)
    squared_distance = squared_norms - 2 * (vectors @ query) + squared
    sign = query_moved.astype(query.dtype) - moved.astype(query.dtype)
    across = jnp.sum(centre * query) - jnp.sum(vectors * centre[None, :], axis=-1)
    apart = squared_distance + jnp.sum(centre * centre) + 2 * sign * across
    squared_distance = jnp.where(query_moved == moved, squared_distance, apart)
    return -0.5 * jnp.exp(-2 * log_sigma) * squared_distance


def _far_centre(
    vectors: Float[Array, "S Q"], squared_norms: Float[Array, "S"]
) -> Float[Array, "Q"]:
    """The mean of the longer keys, those that far from 0 have most to lose; 0 if none."""
    lengths = jnp.where(squared_norms < jnp.inf, squared_norms, 0)
    number = jnp.maximum(jnp.sum(jnp.ones_like(lengths)), 1)
    long = lengths >= jnp.sum(lengths) / (2 * number)
    total = jnp.sum(jnp.where(long[:, None], vectors, 0), axis=0)
    centre = total / jnp.maximum(jnp.sum(long.astype(total.dtype)), 1)
    return jnp.where(jnp.isfinite(centre), centre, 0)


def _moved(
    points: Float[Array, "... Q"],
    squared_norms: Float[Array, "..."],
    centre: Float[Array, "Q"],
) -> tuple[Array, Array, Array]:
    """Points, or what they are from the centre if that is much nearer than 0.

    Returns:
      points, their squared norms, and which were moved. What another point is attended by
      has no part in it: the centre decides how a distance is computed, not what it is.
    """
    moved = points - centre.reshape((1,) * (points.ndim - 1) + centre.shape)
    norms = jnp.sum(moved * moved, axis=-1)
    near = jax.lax.stop_gradient(norms < squared_norms / 64)
    points = jnp.where(near[..., None], moved, points)
    return points, jnp.where(near, norms, squared_norms), near


@register_score(
    params={"w": Param("AQ", bilinear_normal)}, positions=True, block_sparse=True
)
def location(
    query: Float[Array, "Q"],
    keys: Float[Array, "S K"],
    *,
    w: Float[Array, "A Q"],
    query_position: Int[Array, ""],
    key_positions: Int[Array, "S"],
    key_length: Int[Array, ""],
) -> Float[Array, "S"]:
    """Where to look, from the query alone: the keys' content is not read.

        e_i = (W q) · φ(p_i),   φ(p) = [sin(p ω_j)]_j ++ [cos(p ω_j)]_j,  A wide

    with ω_j = 10000^(−j / ⌈A/2⌉). Luong's location score has one weight row per position
    and so a fixed S; here positions are sinusoidal features, defined for any S.

    Args:
      query: one query.
      keys: only their number is used.
      w: [A, Q].
      query_position: not used.
      key_positions: p_i.
      key_length: not used.

    Returns:
      Scores [S].

    Cost: 2·A·(Q + S) FLOPs per query; φ [S, A] once.
    Source: after Luong, Pham and Manning 2015, arXiv:1508.04025, "location"; φ of Vaswani
    et al. 2017, arXiv:1706.03762.
    """
    del keys, query_position, key_length
    features = sinusoidal_features(key_positions, w.shape[0], w.dtype)
    return features @ (w @ query)


@register_score(
    params={"w": Param("AQ", fan_out_normal), "v": "A"},
    positions=True,
    block_sparse=True,
)
def local_gaussian(
    query: Float[Array, "Q"],
    keys: Float[Array, "S Q"],
    *,
    w: Float[Array, "A Q"],
    v: Float[Array, "A"],
    query_position: Int[Array, ""],
    key_positions: Int[Array, "S"],
    key_length: Int[Array, ""],
    sigma: float = 5.0,
) -> Float[Array, "S"]:
    """The dot product near a predicted position; Luong's local-p.

        e_i = q · k_i − (p_i − c)² / (2σ²),   c = key_length · sigmoid(vᵀ tanh(W q))

    After a softmax the weights are the dot product's times a Gaussian around c. As σ
    grows it becomes `dot`.

    Args:
      query: one query.
      keys: S keys, as wide as the query.
      w: predicts the centre, with v.
      v: predicts the centre, with w.
      query_position: not used.
      key_positions: p_i.
      key_length: 1 + the largest position that the query may attend to.
      sigma: σ in positions; the paper's is half its window, 5.

    Returns:
      Scores [S].

    Raises:
      ValueError: Q differs from K, or sigma is not positive and finite.

    Cost: 2·S·Q + 2·A·Q FLOPs per query.
    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.2.
    """
    del query_position
    _require_one_size("local_gaussian", query, keys)
    sigma = numbers.positive("local_gaussian: sigma", sigma)
    width = numbers.normal(2 * sigma * sigma, query.dtype)
    share = jax.nn.sigmoid(jnp.sum(v * jnp.tanh(w @ query)))
    centre = key_length.astype(query.dtype) * share
    offsets = key_positions.astype(query.dtype) - centre
    return keys @ query - offsets * offsets / width


def sinusoidal_features(positions: Array, size: int, dtype: Any) -> Array:
    """φ of `location`: [S] -> [S, size], sines first, then cosines."""
    half = (size + 1) // 2
    frequencies = 10000.0 ** (-jnp.arange(half, dtype=dtype) / half)
    angles = positions.astype(dtype)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)[:, :size]


def _unit(vectors: Array) -> Array:
    """Vectors at unit length; 0, with gradient 0, where the vector is 0."""
    limits = jnp.finfo(vectors.dtype)
    largest = jnp.max(
        jnp.abs(jax.lax.stop_gradient(vectors)), axis=-1, keepdims=True, initial=0
    )
    # Rounded to no digits, it is a power of two: dividing by it is exact.
    power = jax.lax.reduce_precision(largest, limits.nexp, 0)
    bound = 2.0 ** (limits.maxexp - 8)
    scaled = vectors / jnp.clip(power, 1 / bound, bound)
    squares = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    inverse = 1 / jnp.sqrt(jnp.where(squares > 0, squares, 1))
    return scaled * jnp.where(squares > 0, inverse, 0)


def _require_one_size(name: str, query: Array, keys: Array) -> None:
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError(
            f"{name} needs queries and keys of one size, but the query has "
            f"{query.shape[-1]} features and the keys have {keys.shape[-1]}; "
            "bilinear and additive take any sizes"
        )
