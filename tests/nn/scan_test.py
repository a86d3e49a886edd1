"""`recurrent_scan` equals the plain scan, in value and in every derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from attention_jax.nn.recurrent import cells
from attention_jax.nn.scan import product_with, recurrent_scan

T, B, H = 5, 3, 4
CASES = pytest.mark.parametrize("cell", ["lstm", "gru"])


def plain_scan(step, weights, constants, carry, inputs):
    """Differentiated step by step."""
    product = product_with(weights)
    return jax.lax.scan(lambda *one: step(product, constants, *one), carry, inputs)


def problem(name):
    """A masked step with a second weight and a constant, and its float64 arguments."""
    cell = cells.get(name)

    def step(product, constants, state, x):
        inputs, valid = x
        recurrent = product("hidden", state.hidden) + constants[None]
        new = cell.step(inputs, recurrent, state)
        here = valid[:, None]
        held = jax.tree.map(lambda a, b: jnp.where(here, a, b), new, state)
        return held, jnp.tanh(product("out", held.hidden))

    random = np.random.default_rng(0)
    width = cell.gates * H

    def normal(*shape):
        return jnp.array(random.normal(size=shape))

    weights = {"hidden": normal(H, width), "out": normal(H, 2)}
    state = cell.state(*(normal(B, H) for _ in cell.state._fields))
    valid = jnp.arange(T)[:, None] < jnp.array([5, 0, 3])[None]
    return step, (weights, normal(width), state), normal(T, B, width), valid


def scalar(scan, name):
    """A scalar of (weights, constants, carry), inputs, that reads every output."""
    step, arguments, inputs, valid = problem(name)

    def function(arguments, inputs):
        weights, constants, carry = arguments
        carry, ys = scan(step, weights, constants, carry, (inputs, valid))
        times = jnp.arange(1.0, T + 1)[:, None, None]
        return jnp.sum(ys * times) + sum(jnp.sum(jnp.sin(x)) for x in carry)

    return function, (arguments, inputs)


def assert_trees_close(a, b, tolerance=1e-10):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance), a, b)


@CASES
def test_gradients_equal_the_plain_scan(x64, cell):
    ours, primals = scalar(recurrent_scan, cell)
    plain, _ = scalar(plain_scan, cell)
    both = [jax.jit(jax.value_and_grad(f, (0, 1)))(*primals) for f in (ours, plain)]
    assert_trees_close(*both)
    for leaf in jax.tree.leaves(both[0][1]):
        assert np.abs(leaf).max() > 1e-3


def test_forward_mode_and_second_derivatives_equal_the_plain_scan(x64):
    """Forward over reverse and, inside it, forward mode."""
    ours, primals = scalar(recurrent_scan, "gru")
    plain, _ = scalar(plain_scan, "gru")
    tangents = jax.tree.map(lambda x: jnp.cos(3 * x), primals)

    def derivatives(f):
        _, slope = jax.jvp(f, primals, tangents)
        return slope, jax.jvp(jax.grad(f, (0, 1)), primals, tangents)[1]

    expected = jax.jit(lambda: derivatives(plain))()
    assert_trees_close(jax.jit(lambda: derivatives(ours))(), expected, 1e-9)


def carried_shapes(jaxpr):
    """The shapes that any scan inside `jaxpr` carries from step to step."""
    found = set()
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            carried = equation.outvars[: equation.params["num_carry"]]
            found |= {variable.aval.shape for variable in carried}
        for inner in jaxprs_in_params(equation.params):
            found |= carried_shapes(inner)
    return found


def test_no_weight_gradient_is_accumulated_step_by_step(x64):
    def shapes(scan):
        function, primals = scalar(scan, "lstm")
        return carried_shapes(jax.make_jaxpr(jax.grad(function))(*primals).jaxpr)

    assert (H, 4 * H) in shapes(plain_scan)
    assert (H, 4 * H) not in shapes(recurrent_scan)
    assert (B, H) in shapes(recurrent_scan)


def test_a_weight_used_twice_is_an_error():
    def step(product, constants, carry, x):
        carry = product("w", product("w", carry)) + x
        return carry, carry

    def run(w):
        carry, inputs = jnp.ones((2, 3)), jnp.ones((4, 2, 3))
        return jnp.sum(recurrent_scan(step, {"w": w}, None, carry, inputs)[0])

    with pytest.raises(ValueError, match="'w' twice"):
        jax.grad(run)(jnp.eye(3))


def test_a_weight_that_no_step_uses_has_gradient_zero():
    def step(product, constants, carry, x):
        return carry + x, product("used", carry)

    def run(weights):
        carry, inputs = jnp.ones((2, 3)), jnp.ones((4, 2, 3))
        return jnp.sum(recurrent_scan(step, weights, None, carry, inputs)[1])

    gradient = jax.grad(run)({"used": jnp.eye(3), "idle": jnp.ones((3, 2))})
    np.testing.assert_array_equal(gradient["idle"], 0)
    assert np.all(gradient["used"] == 2 * (1 + 2 + 3 + 4))
