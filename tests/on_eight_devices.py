"""What devices send each other, counted in compiled programs; run by `sharding_test.py`."""

import itertools
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import attention_jax as aj
from attention_jax import masks
from attention_jax.config import ModelConfig, TrainingConfig
from attention_jax.kernels import cost_model
from attention_jax.models.attention_wiring import wirings
from attention_jax.models.factory import build_model
from attention_jax.training.optimizer import make_optimizer
from attention_jax.training.sharding import make_sharding
from attention_jax.training.step import init_state, make_train_step
from tests.training.fakes import random_batch

FULL = pytest.mark.full
KINDS = pytest.mark.parametrize(
    "kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name
)
B, H, T, S, D = 4, 2, 14, 100, 4  # T: 3 blocks of 3 queries and 2 more on each device
BY_HEAD, BY_QUERY = P("data", "heads"), P("data", None, "heads")
random = np.random.default_rng(0)


def normal(*shape):
    return random.standard_normal(shape).astype(np.float32)


QUERY, KEYS, VALUES = normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, D)
LENGTHS, OTHERS = np.array([100, 0, 60, 31])[:, None], {"lengths": P("data")}


def collectives(program) -> Counter:
    """How often a program calls each."""
    names = "all-gather|all-to-all|all-reduce|reduce-scatter|collective-\\w+"
    return Counter(re.findall(rf" ({names})(?:-start)?\(", program.as_text()))


def close(found, expected):
    for one, other in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(jax.device_get(one), other, rtol=2e-4, atol=2e-5)


def differentiated(function):
    """The gradients of the function's first arguments, and its output."""

    def loss(arguments, others):
        out = function(**arguments, **others)
        return jnp.sum(jnp.sin(out.context)), out

    return jax.jit(jax.grad(loss, has_aux=True))


def agrees(kind, function, specs, *arguments) -> Counter:
    """Checks results on a (4, 2) mesh against one device's; what the devices send."""
    mesh = jax.make_mesh((4, 2), ("data", "heads"), axis_types=(kind,) * 2)
    program = differentiated(function)
    divided = jax.tree.map(
        lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec)), arguments, specs
    )
    compiled = program.lower(*divided).compile()
    found = compiled(*divided)
    close(found, program(*arguments))
    results = (found[1].context, divided[0]["query"]), (found[0], divided[0])
    for result, given in results:
        pairs = zip(jax.tree.leaves(result), jax.tree.leaves(given), strict=True)
        for one, like in pairs:
            # The compiler puts zeros, of keys that a score does not read, anywhere.
            alike = one.sharding.is_equivalent_to(like.sharding, one.ndim)
            assert alike or not np.any(one)
    return collectives(compiled)


def cases(quick, *axes):
    """The product of the axes; all but the quick cases are behind `full`."""
    return [
        pytest.param(*case, marks=() if case in quick else FULL)
        for case in itertools.product(*axes)
    ]


MASKS = {
    "full": lambda lengths: None,
    "padding": masks.padding,
    "causal": lambda lengths: masks.causal(),
}
FUNCTIONS = [(score, "softmax") for score in aj.score_names()]
FUNCTIONS += [("dot", normalizer) for normalizer in aj.normalizer_names()[1:]]
QUICK = [(("additive", "softmax"), "chunked", "padding")]


@KINDS
@pytest.mark.parametrize(
    ("functions", "implementation", "mask"),
    cases(QUICK, FUNCTIONS, ["reference", "chunked"], MASKS),
)
def test_divided_heads_send_nothing(kind, functions, implementation, mask):
    score, normalizer = functions
    params = aj.init_score_params(
        jax.random.key(0), score, query_size=D, key_size=D, alignment_size=3
    )
    params = jax.tree.map(np.asarray, params)

    def attend(lengths, **arrays):
        return aj.attention(
            **arrays,
            score=score,
            normalizer=normalizer,
            mask=MASKS[mask](lengths),
            implementation=implementation,
            chunk_size=3 if implementation == "chunked" else None,
        )

    given = {"query": QUERY, "keys": KEYS, "values": VALUES, "params": params}
    specs = dict.fromkeys(given, BY_HEAD) | {"params": dict.fromkeys(params, P())}
    sent = agrees(kind, attend, (specs, OTHERS), given, {"lengths": LENGTHS})
    # The gradients of parameters, and whether Newton's method has converged.
    loops = kind == AxisType.Auto and normalizer in ("sparsemax", "entmax15")
    assert set(sent) <= ({"all-reduce"} if params or loops else set())


def everything(lengths, **arrays):
    return aj.attention(
        **arrays,
        score="bilinear",
        mask=masks.padding(lengths) & masks.causal(),
        dropout_rate=0.5,
        dropout_rng=jax.random.key(1),
        implementation="chunked",
        chunk_size=3,
        return_weights=True,
        statistics=("column_sum", "entropy", "argmax", aj.top_k(2)),
    )


@KINDS
def test_what_heads_have_lies_with_them_and_dropout_is_that_of_one_device(kind):
    """A form and a bias a head; one head of keys for two of queries."""
    given = {"query": QUERY, "keys": KEYS[:, :1], "values": VALUES}
    given |= {"bias": normal(H, T, S), "params": {"w": normal(H, D, D)}}
    specs = dict.fromkeys(given, BY_HEAD) | {"keys": P("data"), "bias": P("heads")}
    specs |= {"params": {"w": P("heads")}}
    sent = agrees(kind, everything, (specs, OTHERS), given, {"lengths": LENGTHS})
    assert set(sent) == {"all-reduce"}


@pytest.mark.parametrize("gathered", [2, pytest.param(0, marks=FULL)])
def test_divided_queries_are_not_gathered_and_divided_keys_once(gathered):
    given = {"query": QUERY, "keys": KEYS, "values": VALUES}
    given |= {"bias": normal(T, S), "params": {"w": normal(D, D)}}
    keys = BY_QUERY if gathered else P("data")
    specs = {"query": BY_QUERY, "keys": keys, "values": keys}
    specs |= {"bias": P("heads"), "params": {"w": P()}}
    others = {"lengths": LENGTHS}
    sent = agrees(AxisType.Explicit, everything, (specs, OTHERS), given, others)
    assert sent.pop("all-gather", 0) == gathered
    assert set(sent) == {"all-reduce"}


@KINDS
def test_rows_and_explanations(kind):
    mesh = jax.make_mesh((4, 2), ("data", "heads"), axis_types=(kind,) * 2)
    query, keys = (
        jax.device_put(x, NamedSharding(mesh, BY_HEAD)) for x in (QUERY, KEYS)
    )
    rows = jax.jit(lambda q, k: aj.attention_rows(q, k, [13, 2], mask=masks.causal()))
    program = rows.lower(query, keys).compile()
    assert not collectives(program)
    close(program(query, keys), rows(QUERY, KEYS))
    explained = aj.explain_attention(query, keys, keys)
    assert explained.flops == aj.explain_attention(QUERY, KEYS, KEYS).flops


def test_a_captured_array_on_explicit_axes_is_refused():
    mesh = jax.make_mesh((8,), ("data",))
    x = jax.device_put(normal(8, T, D), NamedSharding(mesh, P("data")))

    def attend(x, scale):
        return aj.attention(x, x, x, score=lambda q, k: scale * (k @ q)).context

    with pytest.raises(ValueError, match="captures .* Explicit .* params"):
        jax.jit(attend)(x, jax.device_put(np.float32(2), NamedSharding(mesh, P())))


@pytest.mark.parametrize(
    "normalizer",
    [
        n if n == "sparsemax" else pytest.param(n, marks=FULL)
        for n in aj.normalizer_names()
    ],
)
def test_inside_a_shard_map(normalizer):
    """Lengths, ids and positions that differ by device; the default check of types."""
    rows = 8
    arrays = {"query": normal(rows, T, D), "keys": normal(rows, S, D)}
    arrays["values"] = normal(rows, S, D)
    by_row = {
        "lengths": 13 * np.arange(rows),
        "ids": (random.integers(0, 3, (rows, T)), random.integers(0, 3, (rows, S))),
        "query_positions": 10 * np.arange(rows)[:, None] + np.arange(T),
    }

    def attend(lengths, ids, **arrays):
        mask = masks.padding(lengths) & masks.segments(*ids) & masks.causal()
        return aj.attention(
            **arrays,
            normalizer=normalizer,
            mask=mask,
            implementation="chunked",
            chunk_size=3,
            statistics=("column_sum", "entropy"),
        )

    program = differentiated(attend)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    mapped = jax.jit(
        jax.shard_map(program, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    )
    compiled = mapped.lower(arrays, by_row).compile()
    assert not collectives(compiled)
    close(compiled(arrays, by_row), program(arrays, by_row))


@KINDS
def test_a_layer_and_its_cache_send_gradients_alone(kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    layer = aj.MultiHeadAttention(
        4, 8, num_key_value_heads=2, score="additive", rngs=nnx.Rngs(0)
    )
    graph, params = nnx.split(layer, nnx.Param)

    @jax.jit
    def step(params, x, cache):
        return nnx.merge(graph, params).step(x, cache)

    @jax.jit
    @jax.grad
    def gradient(params, x):
        return (nnx.merge(graph, params)(x, mask=masks.causal()) ** 2).sum()

    given = params, normal(8, 3, 8), layer.init_cache(8, 5)
    by_row = P(), P("data"), jax.tree.map(lambda x: P(*["data"][: x.ndim]), given[2])
    divided = jax.device_put(
        given, jax.tree.map(lambda spec: NamedSharding(mesh, spec), by_row)
    )
    program = step.lower(*divided).compile()
    assert not collectives(program)
    close(program(*divided), step(*given))
    program = gradient.lower(*divided[:2]).compile()
    assert set(collectives(program)) == {"all-reduce"}
    close(program(*divided[:2]), gradient(*given[:2]))


def assert_a_step_gathers_nothing(score, wiring, **model):
    """Compiles a data-parallel training step with dropout."""
    sizes = {"embedding_size": 4, "encoder_size": 4, "decoder_size": 8}
    drops = {"dropout": 0.2, "attention_dropout": 0.1}
    wired = {"score": score, "attention": wiring, "readout": "tanh"}
    config = ModelConfig(**sizes | drops | wired | {"decoder_layers": 2} | model)
    training = TrainingConfig(batch_size=16, data_parallel=True, label_smoothing=0.1)
    model, optimizer = build_model(config, 9, 9), make_optimizer(training)
    sharding = make_sharding(training)
    step = make_train_step(model, optimizer, training, sharding=sharding)
    state = sharding.replicate(init_state(model, optimizer, seed=0))
    batch = sharding.shard_batch(random_batch(0, rows=14, padding=2))
    assert set(collectives(step.lower(state, batch).compile())) == {"all-reduce"}


@pytest.mark.parametrize(
    ("score", "wiring", "in_blocks"),
    cases(
        [("local_gaussian", "after", True), ("additive", "input_feeding", False)],
        aj.score_names(),
        wirings.names(),
        [True, False],
    ),
)
def test_a_training_step_gathers_nothing(monkeypatch, score, wiring, in_blocks):
    jax.clear_caches()  # of attention in the other case
    if in_blocks:
        monkeypatch.setattr(cost_model, "REFERENCE_BYTES", 0)
        for name in ("BLOCK_BYTES", "LARGEST_BLOCK_BYTES"):
            monkeypatch.setattr(cost_model, name, 256)
    assert_a_step_gathers_nothing(score, wiring)


@FULL
@pytest.mark.parametrize("normalizer", aj.normalizer_names())
def test_nor_with_other_normalizers_and_cells(normalizer):
    one_way = {"bidirectional": False, "encoder_size": 8, "encoder_layers": 2}
    assert_a_step_gathers_nothing(
        "dot", "before", normalizer=normalizer, cell="gru", **one_way
    )
