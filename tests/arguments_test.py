"""Our own argument errors: they name the argument, what was expected and what came."""

import functools

import jax
import numpy as np
import pytest

import attention_jax as aj
from attention_jax import masks

ONES = functools.partial(np.ones, dtype=np.float32)
GOOD = {"query": ONES((2, 3, 4)), "keys": ONES((2, 5, 4)), "values": ONES((2, 5, 6))}
# w_key's alignment features are not w_query's.
ADDITIVE = {"w_query": ONES((4, 3)), "w_key": ONES((4, 2)), "v": ONES(3)}
ADDITIVE = {"score": "additive", "params": ADDITIVE}
PREPARED = aj.prepare_keys("scaled_dot", ONES((2, 5, 4)))
DROPOUT = {"dropout_rate": 0.5, "dropout_rng": np.ones(3)}
KEYS = DROPOUT | {"dropout_rng": jax.random.split(jax.random.key(0))}


def bilinear(**params):
    return {"score": "bilinear", "params": params}


def call(query=GOOD["query"], keys=GOOD["keys"], values=GOOD["values"], **arguments):
    return aj.attention(query, keys, values, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"query": ONES(4)}, ValueError, r"query must be \[..., T, Q\].*\(4,\)"),
        ({"keys": ONES(4)}, ValueError, r"keys must be \[..., S, K\]"),
        ({"query": np.ones((3, 4), int)}, TypeError, "query must be floating.*int32"),
        ({"values": None}, TypeError, "values must be an array, not NoneType"),
        ({"query": np.array([["a"]])}, TypeError, "query must be .* numbers.*<U1"),
        ({"query": [[1.0, 2.0], [3.0]]}, ValueError, r"query must .*, got \[\[1.0"),
        ({"score": lambda q, k: k[:, 0] > 0}, TypeError, "floating.* returned bool"),
        ({"score": lambda q, k: (k @ q).sum()}, ValueError, r"score per key, \[5\]"),
        ({"score": lambda q, k: 1.0}, TypeError, "one score per key.* returned float"),
        ({"keys": ONES((2, 5, 3))}, ValueError, "4 features and the keys have 3"),
        ({"values": ONES((2, 4, 6))}, ValueError, r"axis -2.*5 keys.*\(2, 4, 6\)"),
        ({"keys": ONES((3, 5, 4))}, ValueError, r"query \(2,\), keys \(3,\)"),
        ({"mask": ONES((3, 5))}, TypeError, "mask must be boolean.*float32"),
        ({"mask": np.ones((3, 4), bool)}, ValueError, r"\[2, 3, 5\].*\(3, 4\)"),
        ({"mask": masks.padding([1, 2, 3])}, ValueError, r"= \[2\].*\(3,\)"),
        ({"mask": lambda q, k: k <= q}, TypeError, "masks.by_position"),
        ({"mask": masks.causal}, TypeError, r"call it: masks.causal\("),
        ({"mask": "causal"}, TypeError, r"such as masks.causal\(\), got 'causal'"),
        ({"score": "aditive"}, LookupError, "unknown score 'aditive'.*'additive'"),
        ({"normalizer": "softmx"}, LookupError, "normalizer 'softmx'.*'softmax'"),
        ({"implementation": "fast"}, LookupError, "implementation 'fast'.*reference"),
        ({"statistics": ("entrpy",)}, LookupError, "statistic 'entrpy'.*'entropy'"),
        ({"statistics": "entropy"}, TypeError, r"\('entropy',\), not the string"),
        ({"statistics": {"entropy"}}, TypeError, r"must be a sequence"),
        ({"statistics": (aj.top_k,)}, TypeError, r"as in top_k\(3\)"),
        ({"statistics": (aj.top_k(1), aj.top_k(2))}, ValueError, "once only"),
        ({"score": "additive"}, ValueError, "missing: w_query, w_key, v. init_score"),
        (bilinear(W=ONES((4, 4))), ValueError, "missing: w; unknown: W"),
        ({"params": {"w": ONES(2)}}, ValueError, "unknown params.*w; it takes none"),
        ({"params": [1]}, TypeError, "params must be a dict.*list"),
        (bilinear(w=ONES((4, 3))), ValueError, r"axis 1 is K \(key f.* 4.*\(4, 3\)"),
        (bilinear(w=ONES(4)), ValueError, r"have the axes \[..., Q, K\].*\(4,\)"),
        (ADDITIVE, ValueError, r"params\['w_key'\].*A \(alignment .* must be 3"),
        ({"query_positions": [0, 1]}, ValueError, "query_positions must.*3 along"),
        ({"key_positions": np.arange(5.0)}, TypeError, "key_positions must be int"),
        ({"dropout_rate": 1.0}, ValueError, r"must be in \[0, 1\), not 1.0"),
        ({"dropout_rate": "a"}, TypeError, "dropout_rate must be a number"),
        ({"dropout_rate": 0.5}, ValueError, "needs dropout_rng"),
        (DROPOUT, TypeError, "dropout_rng must be a PRNG key"),
        (KEYS, ValueError, r"dropout_rng must be one PRNG key.*\(2,\)"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, not 0"),
        ({"chunk_size": 2.0}, TypeError, "chunk_size must be an integer"),
    ],
)
def test_attention(arguments, error, message):
    with pytest.raises(error, match=message):
        call(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"query": ONES((1, 4))}, ValueError, r"query must be \[Q\]"),
        ({"where": np.ones(5, int)}, TypeError, "where must be boolean"),
        ({"where": np.ones(4, bool)}, ValueError, r"where must be \[5\].*\(4,\)"),
        ({"key_positions": np.arange(4)}, ValueError, r"key_positions .* to \[5\]"),
        ({"keys": PREPARED}, ValueError, r"one sequence, .* leading axes \(2,\)"),
    ],
)
def test_attend(arguments, error, message):
    good = {"query": ONES(4), "keys": ONES((5, 4)), "values": ONES((5, 6))}
    with pytest.raises(error, match=message):
        aj.attend(**{**good, **arguments})


def test_average():
    message = r"one S, but got weights \(3,\) and values \(4"
    with pytest.raises(ValueError, match=message):
        aj.average(ONES(3), ONES((4, 2)))
    np.testing.assert_allclose(aj.average([0.5, 0.5], [[2.0], [4.0]]), [3.0])


def test_prepare_keys():
    with pytest.raises(ValueError, match=r"keys must be \[..., S, K\]"):
        aj.prepare_keys("dot", ONES(4))
    with pytest.raises(ValueError, match="missing: w_query, w_key, v"):
        aj.prepare_keys("additive", ONES((5, 4)))
    broken = aj.Score(lambda query, keys: keys @ query, prepare=lambda keys: keys.T)
    with pytest.raises(ValueError, match="S first, one row per key"):
        aj.prepare_keys(broken, ONES((5, 4)))
    params = aj.init_score_params(jax.random.key(0), "cosine", query_size=4, key_size=4)
    prepared = aj.prepare_keys("cosine", GOOD["keys"], params)
    with pytest.raises(ValueError, match="prepared for the score cosine, not for dot"):
        call(keys=prepared, score="dot")


def test_any_array_is_accepted():
    output = call(query=GOOD["query"].tolist(), keys=jax.numpy.asarray(GOOD["keys"]))
    assert output.context.shape == (2, 3, 6)
