"""Ways to wire attention into a recurrent decoder: one pure step each, and its unrolling.

    after          s_t = cell(x_t, s_{t-1})              o_t = attend(s_t)
    input_feeding  s_t = cell([x_t ; h̃_{t-1}], s_{t-1})  o_t = attend(s_t)
                   h̃_t = tanh(W_c [o_t ; s_t])
    before         o_t = attend(s_{t-1})                 s_t = cell([x_t ; o_t], s_{t-1})
    none           s_t = cell(x_t, s_{t-1})

x_t is the embedded previous token, s_t the top layer's hidden state. `after` and
`input_feeding` are Luong, Pham and Manning's (2015, arXiv:1508.04025), without and with
their input feeding; `before` is Bahdanau, Cho and Bengio's (2015, arXiv:1409.0473).
A wiring is a step (product, constants, state, inputs) -> (state, (features, weights)) as
`recurrent_scan` takes it; the readout predicts from the features.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax import masks
from attention_jax.attention import attention
from attention_jax.config import ModelConfig
from attention_jax.functions.prepared import PreparedKeys
from attention_jax.functions.registry import Registry
from attention_jax.nn.layers import linear
from attention_jax.nn.recurrent import Cell, advance_cell, scan_cell
from attention_jax.nn.scan import Product, recurrent_scan
from attention_jax.types import Array, Float, Int


class DecoderState(NamedTuple):
    """What the decoder carries from step to step; every leaf is [B, ...]."""

    # One a layer, the lowest first.
    cells: tuple[Any, ...]
    # h̃_{t-1} with input feeding.
    fed: Float[Array, "B F"] | None
    # t, what scores by position see.
    position: Int[Array, " B"]


class Memory(NamedTuple):
    """An encoded batch of source sentences; every leaf is [B, ...]."""

    # The encoder's states as the score prepared them; None without attention.
    keys: PreparedKeys | None
    # The encoder's states, zero at padding.
    values: Float[Array, "B S D"]
    # 0 for a padding row.
    lengths: Int[Array, " B"]
    # The decoder's first, from the bridge.
    state: DecoderState


class Plan(NamedTuple):
    """What is static in a step: hashable, never traced. No score: nothing attends."""

    cell: Cell
    score: Any
    normalizer: Any
    attention_dropout: float


class Constants(NamedTuple):
    """What every step of one batch reads."""

    memory: Memory
    score_params: dict[str, Array]
    # Of each layer (input bias, hidden bias or None); the lowest layer's input bias is in
    # `StepInputs.projected` already.
    biases: tuple[tuple[Array, Array | None], ...]


class StepInputs(NamedTuple):
    """What one step reads; with time in front, what all steps read."""

    # x_t W_x + b of the lowest layer, before anything fed is added.
    projected: Float[Array, "B G*H"]
    # For each higher layer, what dropout multiplies its input with, or None.
    between: tuple[Float[Array, "B H"] | None, ...]
    # For dropout on the attention weights, or None.
    rng: Array | None


class Wiring(NamedTuple):
    """One way to wire attention into a decoder.

    Attributes:
      step: (plan, product, constants, state, inputs) -> (state, (features, weights)).
        Weights by name: hidden_0, hidden_1, … and input_1, … of the layers, `feed` for
        what joins the embedding, `combine` for W_c. Features are [o_t ; s_t], or s_t
        where nothing is attended to, or h̃_t.
      unroll: (wiring, plan, weights, constants, state, inputs, rng) ->
        (features [B, T, F], weights [B, T, S]): all steps of a given target.
      feeds: what joins the embedding in the lowest layer's input: "context" for o_t,
        "attentional" for h̃_{t-1}, "" for nothing.
      attends: whether there is an o_t.
      attentional: whether the features are h̃_t already, so that no readout maps follow.
    """

    step: Callable[..., Any]
    unroll: Callable[..., tuple[Array, Array]]
    feeds: str = ""
    attends: bool = True
    attentional: bool = False


wirings = Registry[Wiring]("attention wiring")


def attend(
    plan: Plan,
    constants: Constants,
    states: Float[Array, "B T H"],
    positions: Int[Array, "B T"],
    rng: Array | None,
) -> tuple[Float[Array, "B T D"], Float[Array, "B T S"]]:
    """The context o_t and the weights a_t of each state over the source.

    If nothing attends, contexts of no features, and 0.
    """
    memory = constants.memory
    if plan.score is None:
        batch, length, _ = memory.values.shape
        shape, dtype = (batch, states.shape[1]), memory.values.dtype
        return jnp.zeros((*shape, 0), dtype), jnp.zeros((*shape, length), dtype)
    attended = attention(
        states,
        memory.keys,
        memory.values,
        score=plan.score,
        normalizer=plan.normalizer,
        params=constants.score_params,
        mask=masks.padding(memory.lengths),
        query_positions=positions,
        dropout_rate=0.0 if rng is None else plan.attention_dropout,
        dropout_rng=rng,
        return_weights=True,
    )
    assert attended.weights is not None
    return attended.context, attended.weights


def _attend_once(plan, constants, hidden, position, rng):
    """`attend` of s_t [B, H] at a position [B]: o_t [B, D] and a_t [B, S]."""
    states, positions = hidden[:, None], position[:, None]
    context, weights = attend(plan, constants, states, positions, rng)
    return context[:, 0], weights[:, 0]


def advance(
    plan: Plan,
    product: Product,
    constants: Constants,
    state: DecoderState,
    inputs: StepInputs,
    fed: Float[Array, "B F"] | None = None,
) -> DecoderState:
    """All layers one step on; `fed` joins the lowest layer's input."""
    projected = inputs.projected
    if fed is not None:
        projected = projected + product("feed", fed)
    new: list[Any] = []
    both = zip(state.cells, constants.biases, strict=True)
    for layer, (cell, biases) in enumerate(both):
        if layer:
            below = _times(new[-1].hidden, inputs.between[layer - 1])
            projected = product(f"input_{layer}", below) + biases[0][None]
        recurrent = product(f"hidden_{layer}", cell.hidden)
        new.append(advance_cell(plan.cell, recurrent, biases[1], projected, cell))
    return state._replace(cells=tuple(new), position=state.position + 1)


def step_after(plan, product, constants, state, inputs):
    """s_t first, then attend with it; features [o_t ; s_t], or s_t if nothing attends."""
    new = advance(plan, product, constants, state, inputs)
    # s_t is query number t, also when it is the state before step t + 1.
    states, position = new.cells[-1].hidden[:, None], state.position[:, None]
    context, weights = attend(plan, constants, states, position, inputs.rng)
    return new, (_side_by_side(context, states)[:, 0], weights[:, 0])


def step_input_feeding(plan, product, constants, state, inputs):
    """As `step_after`, h̃_{t-1} fed to the cell; features h̃_t."""
    new = advance(plan, product, constants, state, inputs, state.fed)
    hidden = new.cells[-1].hidden
    context, weights = _attend_once(plan, constants, hidden, state.position, inputs.rng)
    attentional = jnp.tanh(product("combine", _side_by_side(context, hidden)))
    return new._replace(fed=attentional), (attentional, weights)


def step_before(plan, product, constants, state, inputs):
    """Attend with s_{t-1}, feed o_t to the cell; features [o_t ; s_t]."""
    hidden = state.cells[-1].hidden
    context, weights = _attend_once(plan, constants, hidden, state.position, inputs.rng)
    new = advance(plan, product, constants, state, inputs, context)
    return new, (_side_by_side(context, new.cells[-1].hidden), weights)


def unroll_by_step(wiring, plan, weights, constants, state, inputs, rng):
    """One step after the other: each step's attention is part of the recurrence."""
    if rng is not None:
        rngs = jax.random.split(rng, inputs.projected.shape[0])
        inputs = inputs._replace(rng=rngs)
    step = functools.partial(wiring.step, plan)
    _, (features, attended) = recurrent_scan(step, weights, constants, state, inputs)
    return jnp.moveaxis(features, 0, 1), jnp.moveaxis(attended, 0, 1)


def unroll_after(wiring, plan, weights, constants, state, inputs, rng):
    """All T states, layer by layer, then all T queries in one batched call of attention."""
    del wiring
    hidden = projected = inputs.projected
    both = zip(state.cells, constants.biases, strict=True)
    for layer, (cell, biases) in enumerate(both):
        if layer:
            below = _times(hidden, inputs.between[layer - 1])
            projected = linear(below, weights[f"input_{layer}"], biases[0])
        matrix = weights[f"hidden_{layer}"]
        hidden, _ = scan_cell(plan.cell, projected, matrix, biases[1], cell)
    states = jnp.moveaxis(hidden, 0, 1)
    steps = jnp.arange(states.shape[1], dtype=state.position.dtype)
    positions = state.position[:, None] + steps[None]
    context, attended = attend(plan, constants, states, positions, rng)
    return _side_by_side(context, states), attended


def _times(x: Array, multiplier: Array | None) -> Array:
    return x if multiplier is None else x * multiplier


def _side_by_side(*parts: Array) -> Array:
    return jnp.concatenate(parts, axis=-1)


def register_wiring(name: str, wiring: Wiring) -> Wiring:
    """Registers a wiring under `name`; a DuplicateNameError if another step has it."""
    return wirings.register(name, wiring, function=wiring.step)


def attends(config: ModelConfig) -> bool:
    """Whether the wiring that `config` names looks at the source at each step."""
    return wirings.get(config.attention).attends


register_wiring("after", Wiring(step_after, unroll_after))
register_wiring(
    "input_feeding",
    Wiring(step_input_feeding, unroll_by_step, feeds="attentional", attentional=True),
)
register_wiring("before", Wiring(step_before, unroll_by_step, feeds="context"))
register_wiring("none", Wiring(step_after, unroll_after, attends=False))
