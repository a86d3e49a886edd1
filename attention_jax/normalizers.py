"""The normalisers: scores [..., S] -> weights [..., S], along the last axis.

Each function sees rows with at least one entry to attend to; empty rows and masked
weights are settled once for all of them in `Normalizer.__call__`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from attention_jax.functions import numbers
from attention_jax.functions.batching import like
from attention_jax.functions.normalizer import register_normalizer
from attention_jax.functions.ordering import comparable, select
from attention_jax.types import Array, Bool, Float


def softmax_ratio(
    scores: Float[Array, "... S"], *, temperature: float = 1.0
) -> tuple[Float[Array, "... S"], Float[Array, "... 1"]]:
    """exp((e_i − max e) / τ) and their sum."""
    if temperature != 1 or isinstance(temperature, bool):
        temperature = numbers.positive("softmax: temperature", temperature)
    # Divided after the subtraction, so that neither overflow nor rounding moves the largest
    # score away from the maximum.
    shifted = rounded(scores) - _maximum(scores)
    if temperature != 1.0:
        wide = _at_least_float32(shifted)
        shifted = (wide / numbers.normal(temperature, wide.dtype)).astype(scores.dtype)
    exponentials = jnp.exp(shifted)
    # The largest score adds exp(0) = 1: only a row that is all masked has less, 0.
    return exponentials, jnp.maximum(jnp.sum(exponentials, axis=-1, keepdims=True), 0.5)


@register_normalizer(ratio=softmax_ratio, block_sparse=True)
def softmax(
    scores: Float[Array, "... S"],
    where: Bool[Array, "... S"] | None = None,
    *,
    temperature: float = 1.0,
) -> Float[Array, "... S"]:
    """The probability distribution that a linear score and an entropy bonus agree on.

        a_i = exp(e_i / τ) / Σ_j exp(e_j / τ),   τ = temperature

    As τ falls to 0 it becomes `hardmax`; as τ grows, uniform.

    Args:
      scores: e.
      where: True = attend.
      temperature: τ > 0.

    Returns:
      Weights, positive, summing to 1; 0 in a row whose every score is −inf.

    Raises:
      ValueError: temperature is not positive and finite.
      TypeError: it is not a number.

    Cost: about 5·S FLOPs and S exponentials a row.
    """
    masked = _masked(scores, where, -jnp.inf)
    exponentials, total = softmax_ratio(masked, temperature=temperature)
    return exponentials / total


@register_normalizer(block_sparse=True)
def sigmoid(
    scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
) -> Float[Array, "... S"]:
    """Each key is attended to, or not, on its own.

        a_i = 1 / (1 + exp(−e_i))

    Weights do not compete and do not sum to 1; the context grows with the number of keys
    that match. A bias of −log S belongs into the score if sums near 1 are wanted.

    Source: Ramapuram et al. 2024, arXiv:2409.04431.
    """
    del where
    return jax.nn.sigmoid(scores)


@register_normalizer(block_sparse=True)
def sparsemax(
    scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
) -> Float[Array, "... S"]:
    """The Euclidean projection onto the simplex: many weights are exactly 0.

        a = argmin_{p ∈ Δ} ‖p − e‖²  =  [e − τ]₊,   τ such that Σ a_i = 1

    α-entmax with α = 2; between `entmax15` and `hardmax` in sparsity.

    Returns:
      Weights ≥ 0 summing to 1; 0 wherever e_i ≤ max e − 1.

    Cost: 4 to 13 passes over the row, of about 4·S FLOPs each.
    Source: Martins and Astudillo 2016, arXiv:1602.02068.
    """
    shifted = _shift(scores, where)
    return jax.nn.relu(shifted - _threshold(_sparsemax_step, _support, shifted))


@register_normalizer(block_sparse=True)
def entmax15(
    scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
) -> Float[Array, "... S"]:
    """Sparse like `sparsemax`, smooth like `softmax`: α-entmax with α = 1.5.

        a_i = [e_i / 2 − τ]₊²,   τ such that Σ a_i = 1

    Returns:
      Weights ≥ 0 summing to 1; 0 wherever e_i ≤ max e − 2.

    Cost: 4 to 13 passes over the row, of about 5·S FLOPs each.
    Source: Peters, Niculae and Martins 2019, arXiv:1905.05702; τ exact to rounding.
    """
    shifted = _shift(scores / 2, where)
    return jnp.square(
        jax.nn.relu(shifted - _threshold(_entmax15_step, jnp.positive, shifted))
    )


@register_normalizer(block_sparse=True)
def hardmax(
    scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
) -> Float[Array, "... S"]:
    """All weight on the first maximum; differentiated as if it were `softmax`.

        a_i = 1 if i = min argmax_j e_j else 0,   ∂a := ∂softmax(e)

    The straight-through estimator: a hard choice forwards, a soft one backwards.

    Cost: S comparisons a row forwards; a softmax backwards.
    Source: Bengio, Léonard and Courville 2013, arXiv:1308.3432.
    """
    return _hardmax(scores, jnp.ones(scores.shape, bool) if where is None else where)


@register_normalizer(block_sparse=True)
def top_k_softmax(
    scores: Float[Array, "... S"],
    where: Bool[Array, "... S"] | None = None,
    *,
    k: int = 8,
) -> Float[Array, "... S"]:
    """`softmax` over the k largest scores; the rest is exactly 0.

    Exactly k entries are kept, or all there are if fewer; ties go to the lower index.
    With k ≥ S it is `softmax`.

    Args:
      scores: e.
      where: True = attend.
      k: how many keys a query may use, at least 1.

    Raises:
      ValueError: k is below 1.
      TypeError: it is not an integer.

    Cost: a selection of k of S, then a softmax.
    Source: Gupta et al. 2021, arXiv:2106.06899.
    """
    k = numbers.count("top_k_softmax: k", k)
    size = scores.shape[-1]
    known = isinstance(size, int)
    if known and k >= size:
        return softmax.function(scores, where)
    constant = jax.lax.stop_gradient(_masked(scores, where, -jnp.inf))
    candidates = padded = comparable(constant)
    if not known:
        # The size is a symbol: there may be fewer than k.
        ends = [(0, 0)] * (scores.ndim - 1) + [(0, k)]
        padded = jnp.pad(candidates, ends, constant_values=-jnp.inf)
    largest, indices = select(padded, k)
    # By `min` rather than [..., -1:]: XLA turns a slice of a selection into a whole sort.
    smallest = jnp.min(largest, axis=-1, keepdims=True)
    # Ties are taken from the left, so up to the last index that was kept.
    last = jnp.where(largest == smallest, indices, -1).max(axis=-1, keepdims=True)
    place = jnp.arange(scores.shape[-1], dtype=indices.dtype)
    place = jnp.broadcast_to(place, scores.shape)
    # What is left out, rather than what is kept: a NaN then stays a NaN.
    left = (candidates < smallest) | ((candidates == smallest) & (place > last))
    return softmax.function(scores, ~left if where is None else ~left & where)


def softmax_one_ratio(
    scores: Float[Array, "... S"],
) -> tuple[Float[Array, "... S"], Float[Array, "... 1"]]:
    """exp(e_i − m) and exp(−m) + their sum, m = max(0, max e)."""
    maximum = jnp.maximum(_maximum(scores), 0)
    exponentials = jnp.exp(rounded(scores) - maximum)
    total = jnp.sum(exponentials, axis=-1, keepdims=True)
    return exponentials, jnp.exp(-maximum) + total


@register_normalizer(ratio=softmax_one_ratio, block_sparse=True)
def softmax_one(
    scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
) -> Float[Array, "... S"]:
    """A softmax that may attend to nothing: one more entry of score 0, then dropped.

        a_i = exp(e_i) / (1 + Σ_j exp(e_j))

    `softmax` of the row with an extra 0, without that entry's weight; also called
    off-by-one softmax or an attention sink.

    Returns:
      Weights, positive, summing to less than 1.

    Source: Miller 2023, "Attention is off by one"; Xiao et al. 2024, arXiv:2309.17453.
    """
    exponentials, total = softmax_one_ratio(_masked(scores, where, -jnp.inf))
    return exponentials / total


def _masked(scores: Array, where: Array | None, fill: float) -> Array:
    return scores if where is None else jnp.where(where, scores, fill)


def _maximum(scores: Array) -> Array:
    """The row maximum, a constant to derivatives; finite if every score is −inf.

    NaN where it is infinite, as ∞ − ∞ is.
    """
    # Starting from the lowest number, rather than replacing −inf afterwards, leaves the
    # softmax in a form that XLA's CPU compiler can fuse with the products around it.
    lowest = jnp.finfo(scores.dtype).min
    constant = jax.lax.stop_gradient(scores)
    maximum = jnp.max(constant, axis=-1, keepdims=True, initial=lowest)
    return maximum + 0 * maximum


@jax.custom_jvp
def rounded(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """`values`, of which infinity is the largest number, as they are stored.

    In `a * b - maximum`, a CPU's compiler rounds once, and where the maximum is the same
    a · b, rounded, the difference is not 0 but the rounding error: far from 0 for numbers
    above 2²⁴. In `rounded(a * b) - maximum` it is 0. A barrier of XLA's does not do that.
    """
    return jnp.minimum(values, jnp.finfo(values.dtype).max)


@rounded.defjvp
def _rounded_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return rounded(*primals), tangents[0]


def _shift(scores: Array, where: Array | None) -> Array:
    """Scores with maximum 0; masked ones at −2, which is below every support.

    A row whose every score is −inf stays −inf: it has no support, and its sums are 0.
    """
    maximum = _maximum(_masked(scores, where, -jnp.inf))
    return _masked(rounded(scores) - maximum, where, -2.0)


@jax.custom_jvp
def _hardmax(scores: Array, where: Array) -> Array:
    allowed = _masked(scores, where, -jnp.inf)
    first = jnp.argmax(allowed, axis=-1)
    chosen = jax.nn.one_hot(first, scores.shape[-1], dtype=scores.dtype)
    return jnp.where(jnp.isneginf(allowed), 0, chosen)


@_hardmax.defjvp
def _hardmax_jvp(primals, tangents):
    scores, where = primals
    tangent = tangents[0]
    soft = softmax.function(scores, where)
    mean = jnp.sum(soft * tangent, axis=-1, keepdims=True)
    return _hardmax(scores, where), soft * (tangent - mean)


# The thresholds τ of the sparse normalisers, by Newton's method instead of a sort.
#
# A sparse normaliser subtracts from every score of a row the τ that leaves weights with sum 1.
# With p = [z − τ]₊, each defines τ as the root of a function of τ that is decreasing and convex.
# Newton's method started below the root of such a function rises to it and never passes it, and
# each step halves the function or its slope (Dinkelbach 1967, Management Science 13): 4 to 13
# passes over 16,384 scores, which take a tenth of XLA's sort on a CPU or less.


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _threshold(
    step: Callable[[Array, Array], Array],
    weigh: Callable[[Array], Array],
    shifted: Float[Array, "... S"],
) -> Float[Array, "... 1"]:
    """The root that Newton's steps rise to, for rows whose maximum is 0.

    Its derivative is the mean with the weights `weigh(p)`, in any order.
    """
    wide = _at_least_float32(shifted)
    return _risen(functools.partial(step, wide), wide).astype(shifted.dtype)


@_threshold.defjvp
def _threshold_jvp(step, weigh, primals, tangents):
    (shifted,), (tangent,) = primals, tangents
    threshold = _threshold(step, weigh, shifted)
    weights = weigh(jax.nn.relu(shifted - threshold))
    return threshold, _weighted_mean(tangent, weights)


def _support(excess: Array) -> Array:
    return (excess > 0).astype(excess.dtype)


def _sparsemax_step(scores: Array, threshold: Array) -> Array:
    """To the root of Σp − 1."""
    excess = jax.nn.relu(scores - threshold)
    size = jnp.sum(_support(excess), axis=-1, keepdims=True)
    return (jnp.sum(excess, axis=-1, keepdims=True) - 1) / jnp.maximum(size, 1)


def _entmax15_step(scores: Array, threshold: Array) -> Array:
    """To that of ‖p‖ − 1: ‖p‖² − 1 has the same, and is farther from a straight line."""
    excess = jax.nn.relu(scores - threshold)
    squares = jnp.sum(excess * excess, axis=-1, keepdims=True)
    total = jnp.sum(excess, axis=-1, keepdims=True)
    # At least 1 below the root: only a row of −inf has less, 0.
    return (squares - jnp.sqrt(squares)) / jnp.maximum(total, 0.5)


def _at_least_float32(shifted: Array) -> Array:
    """With fewer digits a threshold just below 0, that of many equal scores, would be 0."""
    return shifted if shifted.dtype.itemsize >= 4 else shifted.astype(jnp.float32)


def _risen(step: Callable[[Array], Array], shifted: Array) -> Array:
    """Where τ ← τ + step(τ), from −1, rises no more.

    −1 is below the root: there the largest score alone has p = 1. The last step, down by
    what rounding put the one before too high, is taken too.
    """
    shape = (*shifted.shape[:-1], 1)
    start = (
        like(jnp.full(shape, -1, shifted.dtype), shifted),
        like(jnp.ones(shape, bool), shifted),
    )

    def rise(state: tuple[Array, Array]) -> tuple[Array, Array]:
        threshold, rising = state
        following = threshold + step(threshold)
        following = jnp.where(rising, following, threshold)
        return following, following > threshold

    return jax.lax.while_loop(lambda state: jnp.any(state[1]), rise, start)[0]


def _weighted_mean(values: Array, weights: Array) -> Array:
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return jnp.sum(values * weights, axis=-1, keepdims=True) / jnp.maximum(total, 0.5)
