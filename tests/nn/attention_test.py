"""The nnx layer holds parameters and adds nothing else."""

import jax
import numpy as np
import pytest
from flax import nnx

import attention_jax as aj
from attention_jax import Attention, masks
from tests.tolerances import assert_close

QUERY = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
KEYS = np.random.default_rng(1).standard_normal((2, 4, 6)).astype(np.float32)


def layer():
    return Attention(8, 6, score="additive", alignment_size=5, rngs=nnx.Rngs(0))


def test_it_is_attention_with_its_params():
    module = layer()
    mask = masks.padding([4, 2])
    expected = aj.attention(
        QUERY, KEYS, KEYS, score="additive", params=module.arrays(), mask=mask
    )
    assert_close(module(QUERY, KEYS, mask=mask).context, expected.context)
    prepared = module.prepare(KEYS)
    assert_close(module(QUERY, prepared, KEYS, mask=mask).context, expected.context)
    with pytest.raises(ValueError, match="pass values"):
        module(QUERY, prepared)


def test_gradients_reach_every_parameter():
    gradients = nnx.grad(lambda m: (m(QUERY, KEYS).context ** 2).sum())(layer())
    shapes = {n: g[...].shape for n, g in gradients["params"].items()}
    assert shapes == {"w_query": (8, 5), "w_key": (6, 5), "v": (5,)}
    assert all(np.any(g[...]) for g in gradients["params"].values())


def test_a_parameterless_score_has_no_parameters():
    module = Attention(6, 6, rngs=nnx.Rngs(0))
    assert jax.tree.leaves(nnx.state(module, nnx.Param)) == []
    assert module(QUERY[..., :6], KEYS).context.shape == (2, 3, 6)
