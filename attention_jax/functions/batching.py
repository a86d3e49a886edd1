"""`vmap` as attention needs it: over leading axes without copies, over queries row by row.

A score is written for one query, and its natural product is `keys @ query`. Mapped over t
queries that is a matrix product with the scores as [S, t], which are then transposed: on a
CPU every later pass strides through memory. `query @ keysᵀ` is the same number, and t of them
are rows, [t, S].
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from attention_jax.types import Array


def map_leading(
    function: Callable[..., Any],
    leading: tuple[int, ...],
    arguments: Sequence[Any],
    core_ndims: Sequence[Any],
    *,
    mapper: Callable[..., Any] | None = None,
) -> Any:
    """`function(*arguments)` over the leading axes of its arguments.

    An array's last `core_ndims` axes are its own; those before are leading, aligned from
    the right. An axis that is missing or of length 1 is not copied: it is left out of
    the `vmap`, so one head of keys serves many heads of queries.

    Args:
      function: takes unbatched arguments, returns a pytree of arrays.
      leading: the leading shape that all arrays broadcast to.
      arguments: pytrees of arrays [..., *core].
      core_ndims: the same pytrees of each array's number of core axes.
      mapper: how one axis is mapped: (function, in_axes, axis_size, arrays) -> outputs
        with that axis in front. By `vmap`, all at once, if not given.

    Returns:
      The outputs with the axes `leading` in front.
    """
    arrays, tree = jax.tree.flatten(list(arguments))
    cores = jax.tree.leaves(list(core_ndims))

    def over(leading: tuple[int, ...], arrays: Sequence[Array]) -> Any:
        if not leading:
            return function(*jax.tree.unflatten(tree, arrays))
        outer, *inner = leading
        in_axes, squeezed = [], []
        for array, core in zip(arrays, cores, strict=True):
            has_axis = array.ndim - core > len(inner)
            mapped = has_axis and (array.shape[0] != 1 or outer == 1)
            if has_axis and not mapped:
                array = array[0]
            in_axes.append(0 if mapped else None)
            squeezed.append(array)

        def one(*slices: Array) -> Any:
            return over(tuple(inner), slices)

        if mapper is not None:
            return mapper(one, tuple(in_axes), outer, squeezed)
        return jax.vmap(one, in_axes=tuple(in_axes), axis_size=outer)(*squeezed)

    return over(tuple(leading), arrays)


def like(constant: Array, data: Any) -> Array:
    """`constant`, typed as varying over the devices of a `shard_map` that `data` varies over.

    The start of a loop must have the type of what the loop makes of it.
    """
    for array in jax.tree.leaves(data):
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            continue
        one = array.ravel()[0] if array.size else array.sum()
        constant = jnp.where(one.astype(bool), constant, constant)
    return constant


def may_be_divided() -> bool:
    """Whether a mesh is set whose devices may divide the arrays that are traced here.

    Inside a `shard_map` they are each device's own already.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return len(mesh.manual_axes) < len(mesh.axis_names)


def query_first(function: Callable[..., Any], num_queries: int) -> Callable[..., Any]:
    """`function`, computing matrix @ vector as vector @ matrixᵀ.

    Rewritten are the products of a vector that depends on the arguments with a matrix that
    does not; everything else is left as it is, and the results are the same up to the
    order of additions.

    Args:
      function: of arrays (or None), to be mapped over queries; what does not depend on the
        query is closed over.
      num_queries: how many it will be mapped over, which decides what the derivative
        transposes.
    """

    def rewritten(*arguments: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        outputs = _evaluate(
            traced.jaxpr,
            traced.consts,
            jax.tree.leaves(arguments),
            [True] * len(traced.jaxpr.invars),
            num_queries,
        )[0]
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return rewritten


def _evaluate(
    jaxpr: Any,
    consts: list[Any],
    inputs: list[Any],
    dependent: list[bool],
    num_queries: int,
) -> tuple[list[Any], list[bool]]:
    """The jaxpr's outputs, and which of them depend on the dependent inputs."""
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= zip(jaxpr.invars, inputs, strict=True)
    varying = {v for v, one in zip(jaxpr.invars, dependent, strict=True) if one}

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    def varies(variable: Any) -> bool:
        return not isinstance(variable, Literal) and variable in varying

    for equation in jaxpr.eqns:
        operands = [read(v) for v in equation.invars]
        depend = [varies(v) for v in equation.invars]
        results, result_depend = _apply(equation, operands, depend, num_queries)
        values |= zip(equation.outvars, results, strict=True)
        varying |= {
            v for v, one in zip(equation.outvars, result_depend, strict=True) if one
        }
    return [read(v) for v in jaxpr.outvars], [varies(v) for v in jaxpr.outvars]


def _apply(
    equation: Any, operands: list[Any], depend: list[bool], num_queries: int
) -> tuple[list[Any], list[bool]]:
    primitive, params = equation.primitive, equation.params
    if primitive is jax.lax.dot_general_p and any(depend) and not all(depend):
        vector, matrix = operands if depend[0] else reversed(operands)
        axes = params["dimension_numbers"][0]
        if (vector.ndim, matrix.ndim) == (1, 2) and len(axes[0]) == 1:
            axis = axes[1 if depend[0] else 0][0]
            precision = params["precision"]
            if isinstance(precision, tuple) and not depend[0]:
                precision = precision[::-1]
            kind = params["preferred_element_type"]
            sizes = (num_queries, *matrix.shape)
            # Symbolic sizes have no order.
            known = all(isinstance(size, int) for size in sizes)
            # On transposed products of tiny matrices XLA's CPU compiler may end the process (jax
            # 0.10.2), and there is nothing to gain.
            large = known and max(matrix.shape) >= 8
            turn = large and num_queries > min(matrix.shape)
            return [_product(vector, matrix, axis, precision, kind, turn)], [True]
    # Products of jnp are jits inside.
    if primitive.name in ("jit", "pjit"):
        inner = params["jaxpr"]
        return _evaluate(inner.jaxpr, inner.consts, operands, depend, num_queries)
    # As jax.core.eval_jaxpr does it, modes such as enable_x64 included.
    with equation.ctx.manager:
        results = primitive.bind(*operands, **primitive.get_bind_params(params))
    results = list(results) if primitive.multiple_results else [results]
    return results, [any(depend)] * len(results)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4, 5))
def _product(
    vector: Array, matrix: Array, axis: int, precision: Any, kind: Any, turn: bool
) -> Array:
    """Σ_j vector_j matrix_j over the matrix's `axis`."""
    return jax.lax.dot_general(
        vector,
        matrix,
        (((0,), (axis,)), ((), ())),
        precision=precision,
        preferred_element_type=kind,
    )


@_product.defjvp
def _product_jvp(
    axis: int, precision: Any, kind: Any, turn: bool, primals: tuple, tangents: tuple
) -> tuple[Array, Array]:
    """The product rule, with the matrix's tangent transposed behind a barrier if `turn`.

    Its reason is the backward pass, which is the transpose of this: the matrix's gradient
    comes out as [Q, S], from a product that reads the large [t, S] factor in the order of
    memory. Without the barrier the compiler folds the transposition back into that
    product, which is much slower on a CPU. With fewer queries than features
    the gradient is the larger of the two, and stays as it is.
    """
    (vector, matrix), (vector_dot, matrix_dot) = primals, tangents
    product = functools.partial(_product, precision=precision, kind=kind, turn=turn)
    if turn:
        matrix_dot, dot_axis = jax.lax.optimization_barrier(matrix_dot.T), 1 - axis
    else:
        dot_axis = axis
    tangent = product(vector_dot, matrix, axis) + product(vector, matrix_dot, dot_axis)
    return product(vector, matrix, axis), tangent
