"""Scores that each break one promise, by the check that must say so."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import attention_jax as aj
from attention_jax.functions.score import Score

COUNT = 0
KEPT = []
NUMBERS = itertools.count()


def column(query, keys):
    return (keys @ query)[:, None]


def a_list(query, keys):
    return [keys[0] @ query]


def in_place(query, keys):
    keys[0] = 0.0
    return keys @ query


def converts(query, keys):
    return keys @ query * float(query[0])


def branches(query, keys):
    if keys[0, 0] > 0:
        return keys @ query
    return -(keys @ query)


def always_float32(query, keys):
    return (keys @ query).astype(jnp.float32)


def one_by_one(query, keys):
    return jnp.stack([key @ query for key in keys])


def counts(query, keys):
    global COUNT
    COUNT += 1
    return keys @ query + COUNT


@jax.jit
def counts_under_jit(query, keys):
    return keys @ query + next(NUMBERS)


def draws(query, keys):
    return keys @ query + np.random.standard_normal()


def keeps(query, keys):
    KEPT.append(query)
    return keys @ query


def calls_back(query, keys):
    shape = jax.ShapeDtypeStruct((keys.shape[0],), keys.dtype)
    return jax.pure_callback(
        lambda q, k: np.asarray(k) @ np.asarray(q), shape, query, keys
    )


def traced_is_other(query, keys):
    return keys @ query * (2 if isinstance(query, jax.core.Tracer) else 1)


@jax.custom_batching.custom_vmap
def _batched_wrongly(scores):
    return scores


@_batched_wrongly.def_vmap
def _(axis_size, in_batched, scores):
    del axis_size
    return 2 * scores, in_batched[0]


@jax.custom_jvp
def _batched_wrongly_with_gradient(scores):
    return _batched_wrongly(scores)


_batched_wrongly_with_gradient.defjvp(lambda primals, tangents: (*primals, *tangents))


def batched_wrongly(query, keys):
    return _batched_wrongly_with_gradient(keys @ query)


class ByIdentity:
    """Equal settings, unequal objects."""

    def __init__(self, scale):
        self.scale = scale


def scaled(query, keys, *, setting=None):
    return keys @ query * setting.scale


def logarithm(query, keys):
    return jnp.log(keys @ query)


def step(query, keys):
    return keys @ jax.lax.stop_gradient(query)


@jax.custom_jvp
def _cube(x):
    return x**3


_cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 2 * tangents[0]))


def wrong_rule(query, keys):
    return _cube(keys @ query)


def unguarded(query, keys):
    return keys @ query / jnp.linalg.norm(keys, axis=-1)


def weights(query, keys):
    return jax.nn.softmax(keys @ query)


def centred(query, keys):
    return (keys - keys.mean(0, keepdims=True)) @ query


def sees_padding(query, keys):
    return keys @ query + jnp.any(jnp.all(keys == 0, axis=-1)).astype(keys.dtype)


def by_place(query, keys):
    return keys @ query - jnp.arange(len(keys)).astype(keys.dtype)


def centred_keys(keys):
    return keys - keys.mean(0, keepdims=True)


def transposed_keys(keys):
    return keys.T


def over_columns(query, keys):
    return query @ keys


def weighed(query, keys, *, w):
    return keys @ (query * w)


def zeros(rng, shape, dtype):
    del rng
    return jnp.zeros((*shape, 1), dtype)


def random_start(rng, shape, dtype):
    del rng
    return np.random.default_rng().standard_normal(shape).astype(dtype)


def declared(init):
    return Score(weighed, (("w", aj.Param("Q", init)),))


# The check that fails, and none but it.
BROKEN = {
    "parameters": [declared(zeros), declared(random_start)],
    "runs": [in_place, a_list, converts, branches],
    "shape": [column, one_by_one],
    "dtype": [always_float32],
    "pure": [
        counts,
        counts_under_jit,
        draws,
        keeps,
        calls_back,
    ],
    "compiles once": [functools.partial(scaled, setting=ByIdentity(2.0))],
    "finite": [logarithm, unguarded],
    "gradients": [step, wrong_rule],
    "own key": [
        weights,
        centred,
        sees_padding,
        Score(aj.dot.function, prepare=centred_keys),
        Score(over_columns, prepare=transposed_keys),
    ],
    "variants": [by_place, traced_is_other, batched_wrongly],
}
