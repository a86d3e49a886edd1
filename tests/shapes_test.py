"""The shapes that scores and normalisers are annotated with are the shapes they have."""

import jax
import jax.numpy as jnp
import pytest
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

import attention_jax as aj

S, Q, A = 7, 6, 5


def checked(function):
    return jaxtyped(typechecker=beartype)(function)


@pytest.mark.parametrize("name", aj.score_names())
def test_scores(name):
    score = aj.get_score(name)
    arguments = aj.init_score_params(
        jax.random.key(0), score, query_size=Q, key_size=Q, alignment_size=A
    )
    prepared = aj.prepare_keys(score, jnp.ones((S, Q)), arguments).arrays
    if score.positions:
        arguments |= {"query_position": jnp.int32(0), "key_length": jnp.int32(S)}
        arguments["key_positions"] = jnp.arange(S)
    function = checked(score.function)
    assert function(jnp.ones(Q), prepared, **arguments).shape == (S,)
    with pytest.raises(TypeCheckError):
        function(jnp.ones((1, Q)), prepared, **arguments)


@pytest.mark.parametrize("name", aj.normalizer_names())
def test_normalizers(name):
    function = checked(aj.get_normalizer(name).function)
    where = jnp.ones((3, S), bool)
    assert function(jnp.ones((3, S)), where).shape == (3, S)
    with pytest.raises(TypeCheckError):
        function(jnp.ones((3, S)), jnp.ones((3, S), int))
