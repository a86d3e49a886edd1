"""Numbers that do not fit, are none, or look equal and are not."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from attention_jax.kernels.masking import dense_mask

LARGE = [2**31, 2**32 - 1, 2**32, 2**40, 2**90, np.uint32(2**32 - 1), np.int64(2**40)]
KEYS = np.ones((5, 2), np.float32)
EMPTY = jax.random.key(0)


def allowed(mask, query_positions=(0, 3), num_keys=5):
    return np.asarray(
        dense_mask(mask, jnp.array(query_positions), jnp.arange(num_keys))
    ).squeeze()


@pytest.mark.parametrize("large", LARGE)
def test_a_length_above_the_keys_is_all_keys(large):
    for mask in (
        masks.padding(large),
        masks.prefix(large),
        masks.window(int(large), int(large)),
    ):
        assert allowed(mask).all()
    out = aj.attention(KEYS[None], KEYS[None], KEYS[None], mask=masks.padding([large]))
    np.testing.assert_allclose(out.context[0], KEYS)


def test_unsigned_lengths_that_jax_has_are_not_negative():
    traced = jax.jit(
        lambda n: dense_mask(masks.padding(n), jnp.arange(1), jnp.arange(3))
    )
    assert traced(jnp.uint32(2**32 - 1)).all() and not traced(jnp.uint32(0)).any()
    assert traced(jnp.uint8(2)).tolist() == [[True, True, False]]


def test_a_window_at_the_end_of_the_integers_does_not_wrap():
    end = 2**31 - 1
    mask = masks.window(3, 3)
    keys = jnp.array([end - 4, end - 3, end, -(2**31)], jnp.int32)
    assert mask.row(jnp.int32(end), keys).tolist() == [False, True, True, False]
    assert mask.row(jnp.int32(-(2**31)), keys).tolist() == [False, False, False, True]
    assert masks.window(end, 0).row(jnp.int32(5), keys).tolist() == [False] * 4


@pytest.mark.parametrize("large", [2**31, 2**40, -(2**31) - 1, np.int64(2**40), 2**90])
def test_what_is_no_count_must_fit(large):
    given = [KEYS, KEYS]
    for name, make in {
        "query_ids": lambda: masks.segments([large], [1]),
        "key_ids": lambda: masks.segments([1], np.array([large])),
        "query_positions": lambda: aj.attention(*given, KEYS, query_positions=large),
        "key_positions": lambda: aj.attention(*given, KEYS, key_positions=[large] * 5),
        "query_position": lambda: aj.attend(KEYS[0], *given, query_position=large),
        "rows": lambda: aj.attention_rows(*given, [large]),
    }.items():
        with pytest.raises(
            ValueError, match=f"{name} must fit int32, but one is {large}"
        ):
            make()


def test_ids_are_equal_where_the_numbers_are(x64):
    def same(query, keys):
        mask = masks.segments(query, keys)
        return mask.row(jnp.int32(0), jnp.arange(1)).item()

    ids = [-1, 0, 5, 2**31 - 1, 2**31, 2**32 - 1, 2**40 + 5]
    kinds = [np.int32, np.uint32, np.int64, np.uint64]
    typed = [
        kind([x])
        for kind in kinds
        for x in ids
        if np.iinfo(kind).min <= x <= np.iinfo(kind).max
    ]
    for query in typed:
        for keys in typed:
            expected = query.item() == keys.item()
            assert same(query, keys) == expected
            if query.dtype.kind == "u":
                assert same(jnp.asarray(query), jnp.asarray(keys)) == expected
    assert allowed(masks.prefix(2**40)).all()


def test_unsigned_ids_without_64_bits():
    large = np.array([2**32 - 1], np.uint32)
    for ids in (large, jnp.asarray(large)):
        assert allowed(masks.segments(ids, ids), [0], 1)
        assert not allowed(masks.segments(ids, [-1]), [0], 1)
        assert not allowed(masks.segments(np.array([-1], np.int8), ids), [0], 1)


def scaled(query, keys, *, factor: Any = 1):
    leaf = jax.tree.leaves(factor)[0]
    kind = {bool: 1.0, int: 2.0, float: 3.0}.get(type(leaf), 4.0)
    return keys @ query * kind * float(np.copysign(1, leaf))


@dataclasses.dataclass(frozen=True)
class Scaled:
    factor: Any

    def __call__(self, query, keys):
        return scaled(query, keys, factor=self.factor)


LOOK_EQUAL = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    ((1,), (True,)),
    ((0.0,), (-0.0,)),
    (((1,), 2), ((1.0,), 2)),
    (np.float32(0.0), np.float32(-0.0)),
    (np.float32(1), np.float64(1)),
]


@pytest.mark.parametrize(("one", "other"), LOOK_EQUAL)
def test_what_differs_does_not_share_a_program(one, other):
    query = np.arange(6, dtype=np.float32).reshape(3, 2) / 4
    keys = np.arange(10, dtype=np.float32).reshape(5, 2) / 9
    for make in (
        lambda factor: functools.partial(scaled, factor=factor),
        Scaled,
        lambda factor: aj.soft_cap(functools.partial(scaled, factor=factor), 1e4),
    ):
        first, second = map(aj.get_score, (make(one), make(other)))
        assert first != second
        again = aj.get_score(make(one))
        assert first == again and hash(first) == hash(again)
        for score in (first, second):
            context = aj.attention(query, keys, keys, score=score).context
            alone = aj.attend(query[1], keys, keys, score=score).context
            np.testing.assert_allclose(context[1], alone, rtol=1e-5)
    normalizers = [functools.partial(of_kind, factor=x) for x in (one, other)]
    assert aj.get_normalizer(normalizers[0]) != aj.get_normalizer(normalizers[1])


def of_kind(scores, where=None, *, factor: Any = 1):
    return aj.softmax(scores, where)


@pytest.mark.parametrize(
    "value", [float("nan"), (float("nan"), 1), frozenset([1, 2]), "x", None, np.ones(2)]
)
def test_equal_hyperparameters_are_equal(value):
    def make():
        return aj.get_score(functools.partial(scaled, factor=value))

    assert make() == make() and hash(make()) == hash(make())


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (
            lambda x: aj.attend(*ROW, normalizer=bound(aj.softmax, temperature=x)),
            "temp",
        ),
        (
            lambda x: aj.attend(
                *ROW, score=bound(aj.local_gaussian, sigma=x), params=NEAR
            ),
            "sigma",
        ),
        (lambda x: aj.soft_cap("dot", x), "soft_cap: cap"),
        (lambda x: aj.with_alibi("dot", x), "with_alibi: slope"),
        (lambda x: aj.log_constant(x), "log_constant: value"),
    ],
)
def test_numbers_are_finite_numbers(make, name):
    for wrong in (NAN, INF, -INF, 10**400, np.float32(np.nan), jnp.float32(jnp.inf)):
        with pytest.raises(
            ValueError, match=rf"{name}.* must be (finite|positive), not"
        ):
            make(wrong)
    for wrong in ("5", True, None, 1j, np.complex64(2)):
        with pytest.raises(TypeError, match=rf"{name}.* must be a (real )?number, not"):
            make(wrong)


bound = functools.partial
ROW = (KEYS[0], KEYS, KEYS)
NEAR = {"w": np.ones((2, 2), np.float32), "v": np.ones(2, np.float32)}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (KEYS.astype(object), "dtype object"),
        (KEYS.astype(str), "dtype <U"),
        (KEYS.astype(complex), "floating-point, but the dtype is complex"),
        (np.zeros((5, 2), [("a", "f4")]), "dtype .*'a'"),
        (np.zeros((5, 2), "M8[s]"), "dtype datetime64"),
        (KEYS > 0, "floating-point, but the dtype is bool"),
    ],
)
def test_arrays_of_what_is_no_number_are_named(array, message):
    for name in ("query", "keys", "values"):
        given = {"query": KEYS, "keys": KEYS, "values": KEYS, name: array}
        with pytest.raises(TypeError, match=f"{name} must be .*{message}"):
            aj.attention(**given)
    with pytest.raises(TypeError, match="mask must be"):
        masks.dense(array if array.dtype != bool else array.astype(object))
    with pytest.raises(TypeError, match="key_lengths must be integers"):
        masks.padding(array)


def test_any_byte_order_and_traced_numbers_in_a_list():
    found = aj.attention(
        *[KEYS.astype(">f4")] * 3, mask=masks.padding(np.array(2, ">i8"))
    )
    np.testing.assert_allclose(found.context, KEYS)

    @jax.jit
    def of(n):
        return dense_mask(masks.padding([n, 1]), jnp.arange(1), jnp.arange(3))

    assert of(2).sum(axis=(1, 2)).tolist() == [2, 1]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_initial_values_in_few_digits_are_those_of_many_rounded(dtype):
    sizes = {"query_size": 300, "key_size": 200}
    for score in ("bilinear", "low_rank_bilinear", "additive", "local_gaussian"):
        few, many = (
            aj.init_score_params(EMPTY, score, **sizes, dtype=kind)
            for kind in (dtype, "float32")
        )
        for name, array in few.items():
            np.testing.assert_array_equal(array, many[name].astype(dtype))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rng": "key"}, "rng must be a PRNG key"),
        ({"rng": np.ones(2)}, "rng must be a PRNG key"),
        ({"dtype": "int3"}, "dtype must be a dtype, not 'int3'"),
        ({"dtype": int}, "dtype must be floating-point, not int"),
    ],
)
def test_what_initial_values_are_drawn_by(given, message):
    given = {"rng": EMPTY, "score": "bilinear", "query_size": 2, "key_size": 2, **given}
    with pytest.raises(TypeError, match=message):
        aj.init_score_params(**given)
