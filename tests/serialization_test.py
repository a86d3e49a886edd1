"""Pickled and exported, and what comes back."""

import copy
import functools
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import attention_jax as aj
from attention_jax import masks
from attention_jax.serialization import read_static, write_static

KEYS = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
MASKS = [
    masks.causal(),
    masks.window(1, None),
    masks.padding(3) & ~masks.prefix(1),
    masks.segments([0, 0, 1, 1, 1], [0, 1, 0, 1, 1]) | masks.causal(),
    masks.dense(np.eye(5, dtype=bool)),
]


def parity(query_position, key_positions):
    return (query_position + key_positions) % 2 == 0


def plain(query, keys, *, factor=2.0):
    return keys @ query * factor


def again(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("name", aj.score_names())
def test_a_registered_score_comes_back_itself(name):
    assert again(aj.get_score(name)) is aj.get_score(name)
    params = aj.init_score_params(jax.random.key(0), name, query_size=4, key_size=4)
    prepared = again(aj.prepare_keys(name, KEYS, params))
    given = {"score": name, "params": params}
    np.testing.assert_array_equal(
        aj.attention(KEYS, prepared, KEYS, **given).context,
        aj.attention(KEYS, aj.prepare_keys(name, KEYS, params), KEYS, **given).context,
    )


@pytest.mark.parametrize("name", aj.normalizer_names())
def test_a_registered_normaliser_comes_back_itself(name):
    assert again(aj.get_normalizer(name)) is aj.get_normalizer(name)


@pytest.mark.parametrize(
    "score",
    [
        plain,
        functools.partial(plain, factor=3),
        functools.partial(aj.local_gaussian, sigma=2.0),
        aj.soft_cap(aj.with_alibi("additive", 0.5), 3.0),
        functools.partial(plain, factor=np.float32(3)),
    ],
)
def test_scores_that_are_not_registered_come_back_equal(score):
    score = aj.get_score(score)
    found = again(score)
    assert found == score and hash(found) == hash(score) and repr(found) == repr(score)
    cold = aj.get_normalizer(functools.partial(aj.softmax, temperature=0.5))
    assert again(cold) == cold


def test_what_has_no_name_is_refused_by_pickle_and_copied():
    score = aj.get_score(lambda query, keys: keys @ query)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(score)
    assert copy.deepcopy(score) is score and copy.copy(score) is score


def test_a_score_of_a_file_comes_back_in_another_process(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import attention_jax as aj\n\n"
        '@aj.register_score(params={"w": "QK"})\n'
        "def mine(query, keys, *, w):\n    return keys @ (query @ w) / 2\n"
    )
    score = aj.get_score(f"{path}:mine")
    assert again(score) is score
    (tmp_path / "score.pickle").write_bytes(pickle.dumps(score))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'score.pickle')!r}, 'rb')))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "mine", done.stderr


def test_masks_and_outputs_are_pickled():
    given = {"return_weights": True, "statistics": ("entropy",)}
    output = aj.attention(KEYS, KEYS, KEYS, **given)
    for one in (output, *MASKS, masks.by_position(parity)):
        assert jax.tree.structure(again(one)) == jax.tree.structure(one)
        jax.tree.map(np.testing.assert_array_equal, again(one), one)


def test_the_layer_is_pickled_and_tabulated():
    layer = aj.Attention(4, 4, score="additive", rngs=nnx.Rngs(0))
    found = again(layer)
    np.testing.assert_array_equal(found(KEYS, KEYS).context, layer(KEYS, KEYS).context)
    assert found.score is layer.score

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.project = nnx.Linear(4, 4, rngs=rngs)
            self.attend = layer

        def __call__(self, x):
            return self.attend(self.project(x), x).context

    wide = {"width": 200}
    table = nnx.tabulate(Model(nnx.Rngs(1)), jnp.asarray(KEYS), console_kwargs=wide)
    assert "attend" in table and "w_query" in table and "144 B" in table


@pytest.mark.parametrize("mask", [*MASKS, masks.by_position(parity)])
def test_exported_arguments_and_results(mask):
    params = aj.init_score_params(
        jax.random.key(0), "additive", query_size=4, key_size=4
    )
    prepared = aj.prepare_keys("additive", KEYS, params)

    @jax.jit
    def run(query, prepared, mask, params):
        output = aj.attention(
            query,
            prepared,
            KEYS,
            score="additive",
            params=params,
            mask=mask,
            statistics=("entropy", aj.top_k(2)),
        )
        one = aj.attend(query[0], prepared, KEYS, score="additive", params=params)
        return output, one, prepared, mask

    given = (jnp.asarray(KEYS), prepared, mask, params)
    # Bytes need a library that the tests do not have: what goes into them is seen below.
    found = export.export(run)(*given).call(*given)
    expected = run(*given)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert isinstance(found[0], aj.AttentionOutput)
    assert isinstance(found[1], aj.Attended)
    nodes = [jax.tree.structure(given)]
    for node in nodes:
        nodes += node.children()
        if node.node_data() and issubclass(node.node_data()[0], masks.Mask):
            static = node.node_data()[1]
            assert read_static(write_static(static)) == tuple(static)


def test_a_predicate_without_a_name_is_not_written():
    with pytest.raises(ValueError, match=r"predicate must be defined at the top"):
        write_static((lambda i, j: i == j,))


def test_every_type_is_registered_once_for_export():
    """A second registration is refused."""
    types = [type(mask) for mask in MASKS[:2]]
    types += [masks.Both, masks.Either, masks.Not, masks.ByPosition]
    for cls in (*types, masks.Padding, masks.Segments, masks.Prefix, masks.Dense):
        with pytest.raises(ValueError, match="Duplicate serialization registration"):
            export.register_pytree_node_serialization(
                cls,
                serialized_name="another",
                serialize_auxdata=pickle.dumps,
                deserialize_auxdata=pickle.loads,
            )
    for cls in (aj.Attended, aj.AttentionOutput, aj.KVCache):
        with pytest.raises(ValueError, match="Duplicate serialization registration"):
            export.register_namedtuple_serialization(cls, serialized_name="another")
