"""`lax.scan` for recurrences, with each weight's gradient in one matrix product.

A recurrence meets its weights as v_t W, once per step and weight. Differentiating the
scan adds v_tᵀ ḡ_t to a [F, G] accumulator at every step. Here the scan is linearised around
a perturbation δ_t of each product, so that the weight's tangent enters as

    δ̇ = V Ẇ,  V [T·B, F]      and transposed:      W̄ = Vᵀ δ̄,

one product over all steps at once.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from attention_jax.nn.layers import linear
from attention_jax.types import Array, Float

# product(name, v [B, F]) -> v @ weights[name] [B, G]
Product = Callable[[str, Array], Array]
# step(product, constants, carry, x) -> (carry, y)
Step = Callable[[Product, Any, Any, Any], tuple[Any, Any]]


def product_with(weights: Mapping[str, Float[Array, "F G"]]) -> Product:
    """product(name, v) = v @ weights[name]: what a `Step` applies its weights with."""
    return lambda name, vectors: vectors @ weights[name]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def recurrent_scan(
    step: Step,
    weights: Mapping[str, Float[Array, "F G"]],
    constants: Any,
    carry: Any,
    inputs: Any,
) -> tuple[Any, Any]:
    """Scans `step` over time; the gradient of each weight is one matrix product.

    Equals `lax.scan` and so do its derivatives, forward and reverse, of every order.
    Reverse mode keeps the carries, the inputs and the products of each step and recomputes
    what lies between them.

    Args:
      step: (product, constants, carry, x) -> (carry, y), where product(name, v) is
        v @ weights[name], used at most once per name and step. `step` may close over
        constants that are neither traced nor differentiated, nothing else.
      weights: matrices by name.
      constants: a tree of arrays that every step reads.
      carry: the state before the first step.
      inputs: a tree of arrays with time first, scanned over.

    Returns:
      (the state after the last step, the stacked y). Differentiated, there is no [F, G]
      array per step, and a ValueError if a step uses one weight twice.
    """

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        return step(product_with(weights), constants, carry, x)

    return lax.scan(body, carry, inputs)


@recurrent_scan.defjvp
def _scan_jvp(step: Step, primals: tuple, tangents: tuple) -> tuple:
    weights, constants, carry, inputs = primals
    d_weights, *d_rest = tangents

    def perturbed(deltas: Any, constants: Any, carry: Any, inputs: Any) -> tuple:
        # Elementwise work is cheaper to repeat than to keep: only products are kept.
        @functools.partial(
            jax.checkpoint,
            prevent_cse=False,
            policy=jax.checkpoint_policies.dots_saveable,
        )
        def body(carry: Any, x: Any) -> tuple[Any, Any]:
            delta, x = x
            factors: dict[str, Array] = {}

            def product(name: str, vectors: Array) -> Array:
                if name in factors:
                    raise ValueError(
                        f"a step of recurrent_scan uses the weight {name!r} twice; give "
                        "each use its own name, or pass the matrix in `constants`"
                    )
                factors[name] = vectors
                return _perturb(vectors @ weights[name], delta[name])

            carry, y = step(product, constants, carry, x)
            return carry, (y, factors)

        carry, (ys, factors) = lax.scan(body, carry, (deltas, inputs))
        return (carry, ys), factors

    deltas = _zero_deltas(step, *primals)
    primal_out, linearized, factors = jax.linearize(
        perturbed, deltas, constants, carry, inputs, has_aux=True
    )
    d_deltas = {name: linear(v, d_weights[name]) for name, v in factors.items()}
    return primal_out, linearized(d_deltas, *d_rest)


def _zero_deltas(
    step: Step, weights: Any, constants: Any, carry: Any, inputs: Any
) -> dict[str, Array]:
    """A zero for every product of every step, shaped by a dry run of one step."""
    length = jax.tree.leaves(inputs)[0].shape[0]

    def products(carry: Any, x: Any) -> dict[str, Array]:
        seen: dict[str, Array] = {}

        def product(name: str, vectors: Array) -> Array:
            seen[name] = vectors @ weights[name]
            return seen[name]

        step(product, constants, carry, x)
        return seen

    first = jax.tree.map(lambda x: jax.eval_shape(lambda x: x[0], x), inputs)
    shapes = jax.eval_shape(products, carry, first)
    return {n: jnp.zeros((length, *s.shape), s.dtype) for n, s in shapes.items()}


@jax.custom_jvp
def _perturb(y: Array, delta: Array) -> Array:
    """y + δ at δ = 0: the primal never reads the zeros."""
    del delta
    return y


@_perturb.defjvp
def _perturb_jvp(primals: tuple, tangents: tuple) -> tuple:
    return primals[0], tangents[0] + tangents[1]
