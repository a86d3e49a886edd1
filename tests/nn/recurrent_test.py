"""Cells and their masked scan, against NumPy and flax."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attention_jax.nn.layers import linear
from attention_jax.nn.recurrent import (
    RecurrentLayer,
    cells,
    register_cell,
    scan_both_ways,
    zero_state,
)
from tests.models import oracles
from tests.models.cases import as_float64, rough_like

S, B, INPUT, H = 6, 3, 4, 5
LENGTHS = np.array([4, 0, 6])
CELLS = pytest.mark.parametrize("cell", ["lstm", "gru"])


def layer_and_params(cell):
    layer = RecurrentLayer(cells.get(cell), INPUT, H, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(layer)
    params = rough_like(nnx.to_pure_dict(state))
    return nnx.merge(graphdef, params), params


def inputs(seed=0, steps=S):
    random = np.random.default_rng(seed)
    return jnp.array(random.normal(size=(steps, B, INPUT)), jnp.float32)


def valid(steps=S):
    return jnp.arange(steps)[:, None] < jnp.array(LENGTHS)[None]


def start(cell, seed=1):
    random = np.random.default_rng(seed)
    zero = zero_state(cells.get(cell), B, H)
    return jax.tree.map(
        lambda x: jnp.array(random.normal(size=x.shape), jnp.float32), zero
    )


@CELLS
def test_scan_equals_oracle_row_by_row(cell):
    layer, params = layer_and_params(cell)
    x, state = inputs(), start(cell)
    outputs, final = jax.jit(lambda *arrays: layer(*arrays))(x, state, valid())
    for row, length in enumerate(LENGTHS):
        first = tuple(np.asarray(part[row], np.float64) for part in state)
        xs = list(np.asarray(x[:length, row], np.float64))
        hiddens, last = oracles.run(cell, xs, as_float64(params), first)
        expected = np.zeros((S, H))
        expected[:length] = np.array(hiddens).reshape(length, H)
        np.testing.assert_allclose(outputs[:, row], expected, atol=2e-6)
        for part, expected_part in zip(final, last, strict=True):
            np.testing.assert_allclose(part[row], expected_part, atol=2e-6)


@CELLS
def test_both_ways_in_one_loop_are_one_scan_each(cell):
    (forward, _), state, x = layer_and_params(cell), start(cell), inputs()
    backward = RecurrentLayer(cells.get(cell), INPUT, H, rngs=nnx.Rngs(5))

    def together(x, state):
        return scan_both_ways(forward, backward, x, state, valid())

    def apart(x, state):
        there, last = forward(x, state, valid())
        back, first = backward(x[::-1], state, valid()[::-1])
        side_by_side = functools.partial(jnp.concatenate, axis=-1)
        final = jax.tree.map(lambda *both: side_by_side(both), last, first)
        return side_by_side([there, back[::-1]]), final

    outputs, states = jax.jit(together)(x, state)
    expected_outputs, expected_states = jax.jit(apart)(x, state)
    np.testing.assert_allclose(outputs, expected_outputs, atol=1e-6)
    chex.assert_trees_all_close(states, expected_states, atol=1e-6)


def test_initial_parameters():
    layer = RecurrentLayer(cells.get("lstm"), INPUT, H, rngs=nnx.Rngs(0))
    gates = np.split(np.asarray(layer.bias[...]), 4)
    np.testing.assert_array_equal(gates, [[0] * H, [1] * H, [0] * H, [0] * H])
    for gate in np.split(np.asarray(layer.w_hidden[...]), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)


def test_a_new_cell_is_one_function(monkeypatch):
    monkeypatch.setitem(cells.entries, "elman", cells.get("gru"))
    monkeypatch.delitem(cells.entries, "elman")
    gru_state = cells.get("gru").state

    @register_cell("elman", state=gru_state, initial_bias=(0.5,))
    def elman_step(inputs, recurrent, state):
        del state
        return gru_state(jnp.tanh(inputs + recurrent))

    layer = RecurrentLayer(cells.get("elman"), INPUT, H, rngs=nnx.Rngs(0))
    state = gru_state(jnp.zeros((B, H)))
    outputs, _ = layer(inputs(), state)
    hidden = jnp.zeros((B, H))
    for t, x in enumerate(inputs()):
        projected = linear(x, layer.w_input[...], jnp.full(H, 0.5))
        hidden = jnp.tanh(projected + hidden @ layer.w_hidden[...])
        np.testing.assert_allclose(outputs[t], hidden, atol=1e-6)
