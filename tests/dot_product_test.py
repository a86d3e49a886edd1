"""`dot_product_attention` gives what jax.nn's gives, and 0 where there is nothing to attend to."""

import inspect
import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks

B, T, S, N, H = 2, 5, 6, 4, 3
OURS = {"score", "normalizer", "params", "dropout_rate", "dropout_rng"}
GRID = {
    "layout": ("BTNH", "TNH"),
    "key_heads": (N, 2, 1),
    "bias": (None, (B, N, T, S), (1, N, 1, S), (T, S)),
    "mask": (None, (B, 1, T, S), (N, T, 1)),
    "is_causal": (False, True),
    "query_seq_lengths": (None, (3, 5)),
    "key_value_seq_lengths": (None, (6, 0)),
    "local_window_size": (None, 1, (2, 0), (0, 3)),
}
CASES = list(itertools.product(*GRID.values()))
# What else varies is drawn for each case, since it does not depend on the arguments.
SCALES = (None, 0.3, -2)
HOW = ("eager", "jit", "vmap", "grad", "grad")
DTYPES = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 3e-3, "float64": 1e-5}


def made(case, rng):
    """The arrays and the other arguments of a case of the grid."""
    case = dict(zip(GRID, case, strict=True))
    batch = B if case.pop("layout") == "BTNH" else 1
    key_heads = case.pop("key_heads")

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    arrays = [normal(batch, T, N, H), *(normal(batch, S, key_heads, H) for _ in "kv")]
    for name in ("bias", "mask"):
        shape = case[name]
        if shape is not None:
            if len(shape) == 4 and shape[0] == B:
                shape = (batch, *shape[1:])
            given = normal(*shape)
            case[name] = given if name == "bias" else given > -0.5
    for name in ("query_seq_lengths", "key_value_seq_lengths"):
        if case[name] is not None:
            case[name] = np.array(case[name][:batch], np.int32)
    if batch == 1:
        arrays = [x[0] for x in arrays]
    return arrays, case


def nonempty(case, batch):
    """Which queries attend to some key: [B, T, N]."""
    t, s = np.arange(T)[:, None], np.arange(S)
    allowed = np.ones((batch, N, T, S), bool)
    if case["mask"] is not None:
        allowed &= case["mask"]
    if case["is_causal"]:
        allowed &= s <= t
    if (window := case["local_window_size"]) is not None:
        left, right = window if isinstance(window, tuple) else (window, window)
        allowed &= (t - left <= s) & (s <= t + right)
    if (lengths := case["query_seq_lengths"]) is not None:
        allowed &= t < lengths[:, None, None, None]
    if (lengths := case["key_value_seq_lengths"]) is not None:
        allowed &= s < lengths[:, None, None, None]
    return allowed.any(-1).swapaxes(1, 2)


def check(number):
    chosen, rng = random.Random(number), np.random.default_rng(number)
    arrays, case = made(CASES[number], rng)
    how, dtype = chosen.choice(HOW), chosen.choice(list(DTYPES))
    if how == "grad" and dtype not in ("float32", "float64"):
        dtype = "float32"
    if dtype == "float16":
        how = "eager"  # jax.nn's cannot be compiled for a CPU
    some = nonempty(case, 1 if arrays[0].ndim == 3 else B).reshape(arrays[0].shape[:-1])
    case["scale"] = chosen.choice(SCALES)
    with jax.enable_x64(dtype == "float64"):
        floats = [*arrays, *([] if case["bias"] is None else [case["bias"]])]
        floats = [jnp.asarray(x, dtype) for x in floats]
        cotangent = jnp.asarray(rng.standard_normal(arrays[0].shape), dtype)

        def called(function, cotangent, **extra):
            def call(*floats):
                given = {**case, "bias": floats[3]} if floats[3:] else case
                return function(*floats[:3], **given, return_residual=True, **extra)

            if how == "eager":
                return call(*floats)
            if how == "vmap":
                pairs = [jnp.stack([x[::-1], x]) for x in floats]
                return jax.tree.map(lambda x: x[1], jax.jit(jax.vmap(call))(*pairs))
            if how == "jit":
                return jax.jit(call)(*floats)

            def loss(*floats):
                context, residual = call(*floats)
                return (context * cotangent).sum() + residual.sum(where=some), (
                    context,
                    residual,
                )

            which = tuple(range(len(floats)))
            got, found = jax.jit(jax.grad(loss, which, has_aux=True))(*floats)
            return *found, *got

        implementation = chosen.choice((None, "xla", "reference", "chunked"))
        ours = called(
            aj.dot_product_attention, cotangent, implementation=implementation
        )
        # Where there is nothing to attend to jax.nn averages all values; we give 0.
        known = jnp.where(some[..., None], cotangent, 0)
        with jax.numpy_dtype_promotion("standard"):
            theirs = called(jax.nn.dot_product_attention, known)
    label = f"{CASES[number]}, {how}, {dtype}, {implementation}"
    (context, residual, *gradient), (expected, sums, *slopes) = ours, theirs
    assert context.dtype == residual.dtype == dtype, label
    wide = [np.asarray(x, np.float64) for x in (context, residual, expected, sums)]
    context, residual, expected, sums = wide
    close = {"rtol": DTYPES[dtype], "atol": DTYPES[dtype], "err_msg": label}
    np.testing.assert_allclose(context, np.where(some[..., None], expected, 0), **close)
    np.testing.assert_allclose(residual, np.where(some, sums, -np.inf), **close)
    for mine, other in zip(gradient, slopes, strict=True):
        np.testing.assert_allclose(mine, other, **close)


@pytest.mark.parametrize("seed", range(2))
def test_a_sample_of_the_grid_equals_jax_nn(seed):
    for number in random.Random(seed).sample(range(len(CASES)), 5):
        check(number)


@pytest.mark.full
@pytest.mark.parametrize("part", range(24))
def test_the_whole_grid_equals_jax_nn(part):
    for number in range(part, len(CASES), 24):
        check(number)


def test_the_signature_is_jax_nns():
    """Names, order, kinds and defaults; what is ours comes after, by keyword."""
    theirs = inspect.signature(jax.nn.dot_product_attention).parameters.values()
    ours = inspect.signature(aj.dot_product_attention).parameters.values()
    described = [(p.name, p.kind, p.default) for p in ours]
    assert described[: len(theirs)] == [(p.name, p.kind, p.default) for p in theirs]
    rest = list(ours)[len(theirs) :]
    assert {p.name for p in rest} == OURS
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)


def arrays_of(heads, key_heads, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (B, T, heads, H), (B, S, key_heads, H), (B, S, key_heads, H)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def test_grouped_key_heads_serve_heads_of_different_scores():
    """Parameters, numbers and score_mods by head are those of the query's head."""
    query, key, value = arrays_of(N, 2)
    rng = np.random.default_rng(1)
    w = rng.standard_normal((N, H, H)).astype(np.float32)
    table = jnp.asarray(rng.standard_normal((B, N)), jnp.float32)

    def score_mod(e, b, h, q, k):
        return e + table[b, h] * (q - k).astype(e.dtype)

    cases = (
        {"score": "bilinear", "params": {"w": w}},
        {"score": aj.soft_cap(aj.with_alibi("dot", [0.1, 0.2, 0.3, 0.4]), range(1, 5))},
        {"score": aj.from_score_mod(score_mod)},
        {"mask": masks.prefix(np.array([[1, 2, 3, 4]])) | masks.causal()},
        {"mask": masks.segments(np.arange(T) % 2, np.arange(S) % 2)},
    )
    for given in cases:
        for implementation in ("reference", "chunked"):
            given["implementation"] = implementation
            grouped = aj.dot_product_attention(query, key, value, **given)
            repeated = (x.repeat(N // 2, axis=2) for x in (key, value))
            expected = aj.dot_product_attention(query, *repeated, **given)
            np.testing.assert_allclose(grouped, expected, atol=1e-6, err_msg=str(given))
    by_head = masks.prefix(np.array([1, 2, 3, 4])) | masks.causal()  # without a batch
    alone = aj.dot_product_attention(query[0], key[0], value[0], mask=by_head)
    batched = aj.dot_product_attention(query, key, value, **cases[3])
    np.testing.assert_allclose(alone, batched[0], atol=1e-6)


def test_key_heads_are_not_copied():
    for key_heads in (1, 2):
        made = str(jax.make_jaxpr(aj.dot_product_attention)(*arrays_of(N, key_heads)))
        copies = (f"{B},{N},{S},{H}", f"{B},{S},{N},{H}", f"{B},2,2,{S},{H}")
        assert f"f32[{B},{T},{N},{H}]" in made
        assert not [shape for shape in copies if f"f32[{shape}]" in made]


def test_what_else_differs_from_jax_nn():
    """Another score and normaliser, dropout, wider values, a NaN in the padding."""
    query, key, value = arrays_of(N, N)
    key[0, 4:] = value[0, 4:] = np.nan
    given = {"score": "cosine", "params": {"log_scale": np.float32(0.5)}}
    given |= {"normalizer": "sparsemax", "key_value_seq_lengths": [4, 6]}
    given |= {"dropout_rate": 0.3, "dropout_rng": jax.random.key(0)}
    value = np.concatenate([value, value], axis=-1)
    found = aj.dot_product_attention(query, key, value, **given)
    given |= {"mask": masks.padding(np.array([[4], [6]]))}
    del given["key_value_seq_lengths"]
    expected = aj.attention(*(x.swapaxes(1, 2) for x in (query, key, value)), **given)
    assert found.shape == (B, T, N, 2 * H)
    np.testing.assert_allclose(found, expected.context.swapaxes(1, 2), atol=1e-6)


def test_errors_name_the_argument_and_the_axis():
    q, k, v = arrays_of(N, 2)
    two_slopes = aj.with_alibi("dot", [1, 2])
    for error, words, arrays, given in (
        (ValueError, r"query must be \[B, T, N, H\]", (q[0, 0], k, v), {}),
        (ValueError, "query and key .* batch size, axis 0", (q[:1], k, v), {}),
        (ValueError, "key and value .* length, axis 1", (q, k, v[:, 1:]), {}),
        (ValueError, "query's number of heads, axis 2", (q[:, :, :3], k, v), {}),
        (ValueError, r"bias must be .* \[B, N, T, S\]", None, {"bias": q}),
        (ValueError, "mask must be .* but the shape is", None, {"mask": q > 0}),
        (TypeError, "mask must be boolean", None, {"mask": np.ones((T, S))}),
        (ValueError, r"mask must .* \[B, 1\]", None, {"mask": masks.padding([1] * B)}),
        (ValueError, r"query_seq_.* be \[B\]", None, {"query_seq_lengths": 2}),
        (TypeError, "key_value_seq_l", None, {"key_value_seq_lengths": [1.0, 2.0]}),
        (ValueError, "local_window_size must", None, {"local_window_size": (-1, 2)}),
        (TypeError, "local_window_size must", None, {"local_window_size": (1, 2, 3)}),
        (ValueError, "scale must be finite", None, {"scale": np.nan}),
        (ValueError, "scale multiplies dot", None, {"scale": 2, "score": "cosine"}),
        (ValueError, "unknown params.* w;", None, {"scale": 2, "params": {"w": q}}),
        (LookupError, "cudnn.* call that, or", None, {"implementation": "cudnn"}),
        (LookupError, "unknown implementation", None, {"implementation": "flash"}),
        (ValueError, "slope of .*4 heads", None, {"score": two_slopes}),
    ):
        with pytest.raises(error, match=words):
            aj.dot_product_attention(*(arrays or (q, k, v)), **given)
