"""Recurrent cells as pure steps, and their masked scan over time.

A cell's recurrence enters as h_{t-1} W_h; its input projection x_t W_x + b is computed for
all steps at once, before the scan. Arrays inside are time-major: [S, B, ...].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax.functions.params import fan_in_normal
from attention_jax.functions.registry import Registry
from attention_jax.nn.layers import linear
from attention_jax.nn.scan import Product, recurrent_scan
from attention_jax.types import Array, Bool, Float


class LSTMState(NamedTuple):
    """What an LSTM carries from step to step."""

    cell: Float[Array, "B H"]
    hidden: Float[Array, "B H"]


class GRUState(NamedTuple):
    """What a GRU carries from step to step."""

    hidden: Float[Array, "B H"]


class Cell(NamedTuple):
    """A recurrent cell: one pure step and the sizes of what it needs.

    Attributes:
      step: (inputs [B, G·H], recurrent [B, G·H], state) -> state, where inputs is
        x_t W_x + b and recurrent is h_{t-1} W_h + b_h.
      state: the NamedTuple it carries, each field [B, H]; one is called `hidden`.
      gates: G.
      initial_bias: one value per gate, where b starts.
      hidden_bias: which gates learn a b_h of their own (a sum inside one gate needs none).
    """

    step: Callable[[Array, Array, Any], Any]
    state: Callable[..., Any]
    gates: int
    initial_bias: tuple[float, ...]
    hidden_bias: tuple[bool, ...]


cells = Registry[Cell]("cell")


def register_cell(
    name: str,
    *,
    state: type,
    initial_bias: tuple[float, ...],
    hidden_bias: tuple[bool, ...] | None = None,
) -> Callable[[Callable], Callable]:
    """Registers a step function as the cell `name`; see `Cell` for the arguments."""

    def decorate(step: Callable) -> Callable:
        gates = len(initial_bias)
        own = hidden_bias or (False,) * gates
        cells.register(name, Cell(step, state, gates, initial_bias, own), function=step)
        return step

    return decorate


# The forget gate starts open, so that the state is remembered before anything is learned
# (Jozefowicz, Zaremba and Sutskever 2015).
@register_cell("lstm", state=LSTMState, initial_bias=(0.0, 1.0, 0.0, 0.0))
def lstm_step(
    inputs: Float[Array, "B 4*H"], recurrent: Float[Array, "B 4*H"], state: LSTMState
) -> LSTMState:
    """One step of an LSTM.

        i, f, g, o = split(x W_x + b + h W_h)
        c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
        h' = σ(o) ⊙ tanh(c')

    Source: Hochreiter and Schmidhuber 1997; the gates of Gers et al. 2000.
    """
    # All gates at once, where one of each kind would be four loops: σ(x) is a tanh too.
    halves = jnp.repeat(
        jnp.array([0.5, 0.5, 1.0, 0.5], inputs.dtype), state.cell.shape[-1]
    )
    i, f, g, o = jnp.split(jnp.tanh(halves[None] * (inputs + recurrent)), 4, axis=-1)
    cell = _to_sigmoid(f) * state.cell + _to_sigmoid(i) * g
    return LSTMState(cell, _to_sigmoid(o) * jnp.tanh(cell))


@register_cell(
    "gru",
    state=GRUState,
    initial_bias=(0.0, 0.0, 0.0),
    hidden_bias=(False, False, True),
)
def gru_step(
    inputs: Float[Array, "B 3*H"], recurrent: Float[Array, "B 3*H"], state: GRUState
) -> GRUState:
    """One step of a GRU, the reset gate applied after the product.

        (x_r, x_z, x_n) = split(x W_x + b),  (h_r, h_z, h_n) = split(h W_h + b_h)
        r = σ(x_r + h_r),  z = σ(x_z + h_z),  n = tanh(x_n + r ⊙ h_n)
        h' = (1 − z) ⊙ n + z ⊙ h

    Source: Cho et al. 2014, arXiv:1406.1078, in the variant of cuDNN and PyTorch.
    """
    size = state.hidden.shape[-1]
    x_rz, x_n = jnp.split(inputs, [2 * size], axis=-1)
    h_rz, h_n = jnp.split(recurrent, [2 * size], axis=-1)
    r, z = jnp.split(_to_sigmoid(jnp.tanh(0.5 * (x_rz + h_rz))), 2, axis=-1)
    n = jnp.tanh(x_n + r * h_n)
    return GRUState((1 - z) * n + z * state.hidden)


def _to_sigmoid(tanh_of_half: Array) -> Array:
    """σ(x) = ½ + ½ tanh(x/2), from tanh(x/2)."""
    return 0.5 + 0.5 * tanh_of_half


class RecurrentLayer(nnx.Module):
    """The parameters of one cell: w_input [I, G·H], w_hidden [H, G·H], their biases."""

    def __init__(self, cell: Cell, input_size: int, size: int, *, rngs: nnx.Rngs):
        self.cell = cell
        self.size = size
        hidden_init = nnx.initializers.orthogonal()
        rng = rngs.params()
        # Each gate is a square orthogonal matrix: norms survive many steps.
        gates = jax.vmap(lambda one: hidden_init(one, (size, size), jnp.float32))(
            jax.random.split(rngs.params(), cell.gates)
        )
        self.w_input = nnx.Param(
            fan_in_normal(rng, (input_size, cell.gates * size), jnp.float32)
        )
        self.w_hidden = nnx.Param(jnp.concatenate(list(gates), axis=1))
        self.bias = nnx.Param(jnp.repeat(jnp.array(cell.initial_bias), size))
        if any(cell.hidden_bias):
            self.hidden_bias = nnx.Param(jnp.zeros(sum(cell.hidden_bias) * size))

    def full_hidden_bias(self) -> Float[Array, " G*H"] | None:
        """b_h with zeros for the gates that learn none; None if no gate does."""
        if not any(self.cell.hidden_bias):
            return None
        learned = iter(jnp.split(self.hidden_bias[...], sum(self.cell.hidden_bias)))
        zeros = jnp.zeros(self.size, self.hidden_bias[...].dtype)
        return jnp.concatenate(
            [next(learned) if own else zeros for own in self.cell.hidden_bias]
        )

    def project(self, inputs: Float[Array, "S B I"]) -> Float[Array, "S B G*H"]:
        """x_t W_x + b for all steps."""
        return linear(inputs, self.w_input[...], self.bias[...])

    def __call__(
        self,
        inputs: Float[Array, "S B I"],
        state: Any,
        valid: Bool[Array, "S B"] | None = None,
    ) -> tuple[Float[Array, "S B H"], Any]:
        """Outputs at every step and the last valid state; see `scan_cell`."""
        projected, bias = self.project(inputs), self.full_hidden_bias()
        return scan_cell(self.cell, projected, self.w_hidden[...], bias, state, valid)


def scan_cell(
    cell: Cell,
    inputs: Float[Array, "S B G*H"],
    w_hidden: Float[Array, "H G*H"],
    hidden_bias: Float[Array, " G*H"] | None,
    state: Any,
    valid: Bool[Array, "S B"] | None = None,
) -> tuple[Float[Array, "S B H"], Any]:
    """Runs a cell over time; padding holds the state and gives zero outputs.

    Args:
      inputs: x_t W_x + b for all steps. w_hidden: W_h. hidden_bias: b_h.
      state: before the first step.
      valid: where there is a token; None if everywhere.

    Returns:
      (h_t at every step, 0 where not valid; the state after the last valid step).
      Cost: 2·S·B·H·G·H FLOPs in S dependent steps.
    """

    def step(product: Product, bias: Any, state: Any, x: Any) -> tuple[Any, Array]:
        return _step_or_hold(cell, product("hidden", state.hidden), bias, x, state)

    weights = {"hidden": w_hidden}
    state, outputs = recurrent_scan(step, weights, hidden_bias, state, (inputs, valid))
    return outputs, state


def scan_both_ways(
    forward: RecurrentLayer,
    backward: RecurrentLayer,
    inputs: Float[Array, "S B I"],
    state: Any,
    valid: Bool[Array, "S B"],
) -> tuple[Float[Array, "S B 2*H"], Any]:
    """Two layers of one cell and size, `backward` from the last step to the first.

    In one loop: half as many dependent steps as one scan after the other, and two products
    at a time, where a single one of few rows would not keep the cores busy.

    Returns h_t at every step and the state after the last valid step, forward first. The
    backward layer meets padding first, which leaves `state` as it is. Cost: 4·S·B·H·G·H
    FLOPs in S dependent steps.
    """
    layers = (forward, backward)

    def step(product: Product, biases: Any, states: Any, xs: Any) -> tuple[Any, Any]:
        ways = [
            _step_or_hold(forward.cell, product(name, state.hidden), bias, x, state)
            for name, bias, x, state in zip(_WAYS, biases, xs, states, strict=True)
        ]
        return tuple(new for new, _ in ways), tuple(output for _, output in ways)

    there, back = (layer.project(inputs) for layer in layers)
    states, outputs = recurrent_scan(
        step,
        {name: layer.w_hidden[...] for name, layer in zip(_WAYS, layers, strict=True)},
        tuple(layer.full_hidden_bias() for layer in layers),
        (state, state),
        ((there, valid), (jnp.flip(back, 0), jnp.flip(valid, 0))),
    )
    hidden = (outputs[0], jnp.flip(outputs[1], 0))
    final = jax.tree.map(lambda *both: jnp.concatenate(both, axis=-1), *states)
    return jnp.concatenate(hidden, axis=-1), final


_WAYS = ("forward", "backward")


def _step_or_hold(
    cell: Cell, recurrent: Array, bias: Array | None, x: Any, state: Any
) -> tuple[Any, Array]:
    """One step's state and output; where x is not valid, the old state and 0."""
    inputs, valid = x
    new = advance_cell(cell, recurrent, bias, inputs, state)
    if valid is None:
        return new, new.hidden
    here = valid[:, None]
    held = jax.tree.map(lambda a, b: jnp.where(here, a, b), new, state)
    return held, jnp.where(here, new.hidden, jnp.zeros_like(new.hidden))


def advance_cell(
    cell: Cell,
    recurrent: Float[Array, "B G*H"],
    hidden_bias: Float[Array, " G*H"] | None,
    inputs: Float[Array, "B G*H"],
    state: Any,
) -> Any:
    """The state one step later, from h_{t-1} W_h and x_t W_x + b."""
    if hidden_bias is not None:
        recurrent = recurrent + hidden_bias[None]
    return cell.step(inputs, recurrent, state)


def zero_state(cell: Cell, batch: int, size: int, dtype: Any = jnp.float32) -> Any:
    """The state of B sequences before anything was read."""
    zeros = jnp.zeros((batch, size), dtype)
    return cell.state(*(zeros for _ in state_fields(cell)))


def state_fields(cell: Cell) -> tuple[str, ...]:
    """The names of what the cell carries, each [B, H]."""
    return cell.state._fields  # pyrefly: ignore
