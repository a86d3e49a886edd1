"""Masks: what each allows, how they combine, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from attention_jax.kernels.masking import dense_mask

T, S = 4, 5
QUERIES, KEYS = np.arange(T)[:, None], np.arange(S)[None, :]
PREDICATE = (QUERIES + KEYS) % 2 == 0


def even(query_position, key_positions):
    return (query_position + key_positions) % 2 == 0


def as_array(mask):
    return np.asarray(dense_mask(masks.as_mask(mask), jnp.arange(T), jnp.arange(S)))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (masks.causal(), KEYS <= QUERIES),
        (masks.window(1, 0), (KEYS <= QUERIES) & (KEYS >= QUERIES - 1)),
        (masks.window(None, 1), KEYS <= QUERIES + 1),
        (masks.window(2, None), KEYS >= QUERIES - 2),
        (masks.padding(3), (QUERIES >= 0) & (KEYS < 3)),
        (masks.prefix(2), (QUERIES >= 0) & (KEYS < 2)),
        (masks.causal() | masks.prefix(2), (KEYS <= QUERIES) | (KEYS < 2)),
        (masks.by_position(even), PREDICATE),
        (~masks.by_position(even), ~PREDICATE),
        (masks.causal() & PREDICATE, (KEYS <= QUERIES) & PREDICATE),
        (PREDICATE & masks.causal(), (KEYS <= QUERIES) & PREDICATE),
        (jnp.asarray(PREDICATE) & masks.causal(), (KEYS <= QUERIES) & PREDICATE),
        (PREDICATE | ~masks.causal(), PREDICATE | (KEYS > QUERIES)),
        (masks.causal() & jnp.asarray(PREDICATE), (KEYS <= QUERIES) & PREDICATE),
        (
            masks.segments([0, 0, 1, 2], [0, 1, 1, 2, 2]),
            np.array([0, 0, 1, 2])[:, None] == np.array([0, 1, 1, 2, 2]),
        ),
    ],
)
def test_what_a_mask_allows(mask, expected):
    np.testing.assert_array_equal(as_array(mask), expected)


def test_leading_axes_and_positions():
    ids = np.arange(3)[:, None] * np.ones((3, S), int)
    lengths = as_array(masks.padding(np.array([[1], [3]])))
    assert lengths.shape == (2, 1, T, S), "no axis is made that the mask does not have"
    assert lengths.sum(axis=(1, 2, 3)).tolist() == [T, 3 * T]
    segments = as_array(masks.segments(np.zeros(T, int), ids))
    assert segments.all(axis=(1, 2)).tolist() == [True, False, False]
    dense = dense_mask(masks.causal(), jnp.array([10, 20]), jnp.array([15, 5, 20]))
    assert dense.tolist() == [[False, True, False], [True, True, True]]


def test_lengths_are_traced():
    traces = []
    query = np.ones((2, 3, 4), np.float32)

    @jax.jit
    def run(lengths):
        traces.append(None)
        return aj.attention(query, query, query, mask=masks.padding(lengths)).context

    assert not np.any(run(jnp.array([0, 2]))[0]) and np.any(run(jnp.array([1, 2]))[0])
    assert len(traces) == 1


LAZY = masks.causal() & masks.padding([[5], [2]]) & ~masks.window(0, 0)


@pytest.mark.parametrize(
    "mask",
    [
        LAZY,
        *(
            np.random.default_rng(0).random(shape) < 0.6
            for shape in [(), (S,), (T, 1), (T, S), (3, 1, 1), (2, 1, T, S)]
        ),
    ],
)
def test_masks_and_arrays_broadcast(mask):
    rng = np.random.default_rng(0)
    query = rng.standard_normal((2, 3, T, 4)).astype(np.float32)
    keys = rng.standard_normal((2, 1, S, 4)).astype(np.float32)
    whole = np.broadcast_to(as_array(mask), (2, 3, T, S))
    given, expected = (aj.attention(query, keys, keys, mask=m) for m in (mask, whole))
    np.testing.assert_array_equal(given.context, expected.context)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: masks.window(-1, 0), ValueError, "left must be at least 0, not -1"),
        (lambda: masks.window(0, 1.5), TypeError, "right must be an integer"),
        (lambda: masks.padding([1.0]), TypeError, "key_lengths must be int.*float32"),
        (lambda: masks.padding([3, -1]), ValueError, "at least 0, but one is -1"),
        (lambda: masks.padding(["first"]), TypeError, "integers, got ..first.."),
        (lambda: masks.prefix(-1), ValueError, "length must be at least 0, but one is"),
        (lambda: masks.prefix(True), TypeError, "length must be integers.*bool"),
        (lambda: masks.segments(0, [1]), ValueError, "query_ids needs an axis"),
        (lambda: masks.dense(np.ones(2, int)), TypeError, "must be boolean.*int32"),
        (lambda: masks.by_position(3), TypeError, "predicate must be a function"),
        (
            lambda: masks.by_position(lambda b, h, q, k: q >= k),
            TypeError,
            r"its signature is \(b, h, q, k\); of a mask_mod",
        ),
        (lambda: masks.causal() & (lambda q, k: k < q), TypeError, "masks.by_position"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_narrow_and_unsigned_integers_do_not_wrap():
    lengths = masks.padding(np.array([250], np.uint8))
    assert int(dense_mask(lengths, jnp.arange(1), jnp.arange(300)).sum()) == 250
    narrow = aj.attention(
        np.ones((1, 3), np.float32),
        *[np.eye(3, dtype=np.float32)] * 2,
        mask=masks.window(0, 1),
        query_positions=np.array([0], np.uint8),
        key_positions=np.arange(3, dtype=np.uint8),
    )
    np.testing.assert_allclose(narrow.context, [[0.5, 0.5, 0]])


def test_a_predicate_must_return_booleans():
    query = np.ones((2, 3), np.float32)
    distance = masks.by_position(lambda query, keys: keys - query)
    with pytest.raises(TypeError, match="must return booleans.*int32"):
        aj.attention(query, query, query, mask=~distance)
