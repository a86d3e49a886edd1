"""Blocks are computed on the keys they attend to, and nobody can tell from the result."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks
from attention_jax.arguments import Operands
from attention_jax.kernels import block_sparsity
from attention_jax.kernels.reference import Rows
from tests.attention_cases import arrays, run
from tests.tolerances import BACKWARD, assert_close

T, S = 130, 200
NOTHING = np.zeros((T, S), bool)
HOLES = NOTHING.copy()
HOLES[5, 190:] = HOLES[40:70, 100] = HOLES[129, [0, 199]] = True

MASKS = {
    "causal": masks.causal(),
    "window": masks.window(7, 90) & masks.padding(150),
    "segments": masks.segments(np.arange(T) // 20, np.arange(S) // 30),
    "array, rows without keys": masks.dense(HOLES),
    "not padding": ~masks.padding(180) | masks.prefix(3),
    "one for all queries": masks.dense(np.arange(S) % 90 == 0),
    "nothing": masks.dense(NOTHING),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_by_any_means_gives_what_the_reference_gives(name):
    case = arrays("scaled_dot", T=T, S=S)
    given = {
        "mask": MASKS[name],
        "return_weights": True,
        "statistics": aj.statistic_names(),
    }
    expected = run(case, "scaled_dot", "softmax", implementation="reference", **given)
    given |= {"implementation": "chunked", "chunk_size": 32}
    actual = run(case, "scaled_dot", "softmax", **given)
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize(
    ("score", "normalizer"),
    [
        pytest.param("local_gaussian", "softmax_one", marks=pytest.mark.full),
        pytest.param("location", "entmax15", marks=pytest.mark.full),
        ("additive", "softmax"),
    ],
)
def test_derivatives_of_everything(score, normalizer, x64):
    """Of first and second order; leading axes, shared keys, positions that are no indices."""
    case = arrays(score, T=20, S=160, leading=(2, 2), dtype="float64")
    case = case._replace(keys=case.keys[:, :1])
    mask = masks.window(30, 0) & masks.padding([[160], [100]])

    def described(query, keys, values, params, implementation):
        inner = case._replace(query=query, keys=keys, values=values, params=params)
        output = run(
            inner,
            score,
            normalizer,
            mask=mask,
            query_positions=np.arange(20) * 8,
            implementation=implementation,
            chunk_size=5,
            return_weights=True,
            statistics=("argmax", "entropy", "max_weight", "column_sum"),
        )
        found = dict(output.statistics)
        found.pop("argmax")
        leaves = jax.tree.leaves((output.context, output.weights, found))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves)

    @functools.partial(jax.jit, static_argnums=1)
    def derivatives(arguments, implementation):
        function = functools.partial(described, implementation=implementation)
        gradient = jax.grad(function, argnums=(0, 1, 2, 3))
        return jax.jvp(gradient, arguments, arguments)

    expected, actual = (derivatives(case[:4], n) for n in ("reference", "chunked"))
    assert np.any(expected[1][0])
    close = functools.partial(assert_close, dtype="float64", table=BACKWARD)
    jax.tree.map(close, actual, expected)


def test_a_range_is_from_the_first_to_the_last_key_that_a_block_attends_to():
    query, keys = np.zeros((T, 4), np.float32), np.zeros((S, 4), np.float32)
    index = np.arange(S)
    for mask, keys_used, expected in (
        (
            masks.dense(HOLES),
            HOLES.any(0),
            [[190, 200], [100, 101], [100, 101], [0, 0], [0, 200]],
        ),
        (masks.causal(), index < T, [[0, n] for n in (32, 64, 96, 128, 130)]),
        (masks.prefix(9), index < 9, [[0, 9]] * 5),
    ):
        operands = Operands(
            query, keys, keys, {}, mask, jnp.arange(T), jnp.arange(S), None
        )
        used, ranges = block_sparsity.used_keys(operands, 5, 32)
        np.testing.assert_array_equal(ranges, expected)
        np.testing.assert_array_equal(used, keys_used)


@pytest.mark.parametrize(
    ("first", "last", "width"),
    [(0, 200, 200), (0, 150, 150), (50, 151, 150), (199, 200, 64), (0, 0, 64)],
)
def test_the_smallest_width_that_covers_the_range_is_taken(first, last, width):
    assert block_sparsity.widths(200) == (200, 150, 100, 64)

    def attend(start, width):
        assert isinstance(width, int)
        rows = Rows(
            jnp.stack([start, jnp.int32(width)]),
            None,
            jnp.ones((2, width)),
            {"argmax": jnp.array([0, -1])},
            jnp.ones(width),
        )
        return block_sparsity.over_all_keys(rows, start, 200)

    rows = block_sparsity.on_needed_keys(attend, jnp.array([first, last]), 200)
    start, taken = map(int, rows.context)
    assert taken == width and start <= first and start + taken >= last
    placed = (np.arange(200) >= start) & (np.arange(200) < start + taken)
    np.testing.assert_array_equal(rows.weights, [placed, placed])
    np.testing.assert_array_equal(rows.column_sum, placed)
    np.testing.assert_array_equal(rows.statistics["argmax"], [start, -1])


@pytest.mark.parametrize(
    ("score", "normalizer", "skips"),
    [
        ("scaled_dot", "softmax", True),
        (aj.with_alibi("additive", [0.5, 0.1]), "entmax15", True),
        (lambda query, keys: keys @ query, "softmax", False),
        ("scaled_dot", lambda scores, where=None: aj.softmax(scores, where), False),
    ],
)
def test_keys_are_skipped_where_nobody_can_tell(score, normalizer, skips):
    case = arrays("additive", T=T, S=S, leading=(2,))

    def context(*operands):
        params = case.params if "additive" in repr(score) else None
        options = {"score": score, "normalizer": normalizer, "params": params}
        return aj.attention(
            *operands, mask=masks.causal(), implementation="chunked", **options
        ).context

    for function in (context, jax.grad(lambda *a: context(*a).sum())):
        text = str(jax.make_jaxpr(function)(*case[:3]))
        assert (" cond[" in text) == skips


def test_few_keys_are_taken_whole():
    assert block_sparsity.widths(64) == (64,) and block_sparsity.widths(0) == (0,)
    assert block_sparsity.widths(65) == (65,) and block_sparsity.widths(129) == (
        129,
        97,
        65,
    )


def test_the_gradient_of_no_sequences():
    def loss(query):
        keys, mask = np.ones((S, 2), np.float32), masks.padding(np.zeros(0, np.int32))
        chunked = {"mask": mask, "implementation": "chunked"}
        return jnp.sum(aj.attention(query, keys, keys, **chunked).context)

    assert jax.grad(loss)(jnp.ones((0, 3, 2))).shape == (0, 3, 2)
