"""Does attention keep its promises with it: masks, prepared keys, chunks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention import attention, prepare_keys
from attention_jax.score_checking.agreement import distance, tolerance
from attention_jax.score_checking.check import (
    Outcome,
    check,
    failed,
    passed,
    skipped,
)
from attention_jax.score_checking.quick_jit import quick_jit
from attention_jax.score_checking.subject import LENGTH, Subject
from attention_jax.types import Array

QUERIES = 5
# Each query is forbidden some key, and one of the masks forbids the third to all.
SOME = np.arange(QUERIES)[:, None] != np.arange(LENGTH)[None, :] % QUERIES
WITHOUT_THIRD = SOME & (np.arange(LENGTH) != 2)
# Queries per block that is differentiated, and those that are not.
DIFFERENTIATED = 2
CHUNK_SIZES = (1, QUERIES, QUERIES + 2)

# Queries, keys or prepared keys, values and params of one sequence.
Arrays = tuple[Array, Any, Array, dict[str, Array]]


def arrays(subject: Subject) -> Arrays:
    """Generic ones."""
    points = [subject.point(draw=draw) for draw in range(QUERIES)]
    rng = np.random.default_rng(subject.seed)
    values = rng.standard_normal((LENGTH, subject.sizes.value_size))
    return (
        jnp.stack([point.query for point in points]),
        points[0].keys,
        jnp.asarray(values, jnp.float64),
        subject.params,
    )


def context(subject: Subject, data: Arrays, mask: Any, **options: Any) -> Array:
    """The context of `attention` with this score."""
    query, keys, values, params = data
    return attention(
        query, keys, values, score=subject.score, params=params, mask=mask, **options
    ).context


@check(
    "masked keys",
    "In attention nothing in a masked key, not even NaN, reaches a context.",
    advice="see what `own key` says; key_length is the only thing that a score may know of "
    "other keys",
    needs=("own key", "more keys", "finite"),
)
def masked_keys(subject: Subject) -> Outcome:
    """A key that no query attends to is poisoned, one that some do not is replaced."""
    query, keys, values, params = arrays(subject)
    attend = quick_jit(
        lambda data: context(subject, data, WITHOUT_THIRD, implementation="reference")
    )
    plain = attend((query, keys, values, params))
    poisoned = attend((query, keys.at[2].set(np.nan), values.at[2].set(np.inf), params))
    allowed = tolerance(subject.precision)
    if distance(poisoned, plain) > allowed:
        return failed("NaN in a key that is masked for every query reaches the context")
    replaced = attend((query, keys.at[1].add(1.0), values, params))
    blind = ~WITHOUT_THIRD[:, 1]
    if distance(replaced[blind], plain[blind]) > allowed:
        return failed("a key changes the context of a query that it is masked for")
    return passed("NaN in masked keys and values")


@check(
    "prepared keys",
    "Keys prepared once by prepare_keys give what raw keys give.",
    advice="prepare must be a function of the keys and params it is given",
    needs=("pure", "prepare", "finite"),
)
def prepared_keys(subject: Subject) -> Outcome:
    """attention on prepared keys against attention on the keys."""
    if subject.score.prepare is None:
        return skipped("declares no prepare")

    def both(data: Arrays) -> tuple[Array, Array]:
        query, keys, values, params = data
        prepared = prepare_keys(subject.score, keys, params)
        once = context(subject, (query, prepared, values, params), None)
        return once, context(subject, data, None)

    off = distance(*quick_jit(both)(arrays(subject)))
    if off > tolerance(subject.precision):
        return failed(f"contexts are off by a relative {off:.1e}")
    return passed(f"within {off:.0e}")


@check(
    "chunks",
    "The chunked kernel gives the reference's contexts and gradients at any chunk size.",
    advice="compare with what vmap says; if all else passes, it is a bug of the kernel: "
    "please report it",
    needs=("vmap", "zero vectors"),
)
def chunks(subject: Subject) -> Outcome:
    """Contexts at several chunk sizes, gradients at one that does not divide T."""

    def outputs(data: Arrays, **options: Any) -> tuple[Array, Arrays]:
        def loss(data: Arrays) -> tuple[Array, Array]:
            found = context(subject, data, SOME, **options)
            return jnp.sum(jnp.sin(found)), found

        gradient, found = jax.grad(loss, has_aux=True)(data)
        return found, gradient

    data = arrays(subject)
    options = {"implementation": "chunked"}
    expected = quick_jit(lambda d: outputs(d, implementation="reference"))(data)
    allowed = tolerance(subject.precision)
    largest = 0.0
    for size in CHUNK_SIZES:
        found = quick_jit(
            lambda d, n=size: context(subject, d, SOME, chunk_size=n, **options)
        )
        off = distance(found(data), expected[0])
        if off > allowed:
            return failed(f"chunk size {size}: contexts off by {off:.1e}")
        largest = max(largest, off)
    size = DIFFERENTIATED
    found = quick_jit(lambda d: outputs(d, chunk_size=size, **options))(data)
    for name, pair in zip(
        ("contexts", "gradients"), zip(found, expected, strict=True), strict=True
    ):
        off = distance(*pair)
        if off > 10 * allowed:
            return failed(f"chunk size {size}: {name} off by {off:.1e}")
        largest = max(largest, off)
    sizes = sorted((*CHUNK_SIZES, size))
    return passed(f"sizes {', '.join(map(str, sizes))}: within {largest:.0e}")
