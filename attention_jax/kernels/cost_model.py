"""What attention costs, bytes and FLOPs, read off what the score computes; what `auto` picks."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

from attention_jax.arguments import Operands, Options, compute_dtype
from attention_jax.kernels.reference import attend_one
from attention_jax.types import Array

# What one block's largest intermediate may take, of a part of a sequence or of several whole
# ones: large enough for matrix products and the loop to be worth their call, small enough to stay
# near the cache.
BLOCK_BYTES = 4 * 2**20
# And up to this for the sake of the rows below.
LARGEST_BLOCK_BYTES = 16 * 2**20
# With fewer queries a product with the keys is no longer near the peak.
ROWS_OF_SCORES = 256
# The same for scores made from [S, A] features a query, which are not products.
ROWS_OF_FEATURES = 8


# Up to here `auto` computes all rows at once. Between what was measured on two cores, where
# at 24 MiB a loop over blocks costs time and at 32 it saves some.
REFERENCE_BYTES = 28 * 2**20
# And up to here where a single sequence takes LONG_BYTES: at 4 MiB blocks save some already.
LONG_REFERENCE_BYTES = 3 * 2**20
LONG_BYTES = 2**20


def choose(operands: Operands, options: Options) -> str:
    """The kernel that `auto` stands for.

    `reference` while the largest array it computes through, for all queries of the call,
    takes at most `reference_limit`; `chunked` beyond.
    """
    if is_symbolic(operands):
        return "reference"
    queries = math.prod(operands.leading(options.score)) * operands.query.shape[-2]
    per_query = bytes_per_query(operands, options)
    large = queries * per_query > reference_limit(operands, per_query)
    return "chunked" if large else "reference"


def reference_limit(operands: Operands, per_query: int) -> int:
    """The bytes up to which all rows at once are quicker than blocks of them."""
    long = operands.query.shape[-2] * per_query >= LONG_BYTES
    return LONG_REFERENCE_BYTES if long else REFERENCE_BYTES


def is_symbolic(operands: Operands) -> bool:
    """Whether a size is a symbol, to be filled in when an exported function is called."""
    shapes = (leaf.shape for leaf in jax.tree.leaves(operands))
    return any(not isinstance(size, int) for shape in shapes for size in shape)


def auto_mesh(operands: Operands) -> Any:
    """The mesh by which the compiler divides arrays, or may; None without.

    It can divide what is computed at once, not a loop over what is divided.
    """
    meshes = [
        jax.typeof(leaf).sharding.mesh
        for leaf in jax.tree.leaves(operands)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    for mesh in (jax.sharding.get_abstract_mesh(), *meshes):
        if any(mesh.shape[name] > 1 for name in mesh.auto_axes):
            return mesh
    return None


def bytes_per_query(operands: Operands, options: Options) -> int:
    """Bytes of the largest array that one query's weights are computed through.

    [S] for a score that is a matmul, [S, A] for one with an alignment layer, whatever a
    user's score makes: it is read off the score's jaxpr, not declared. What does not
    depend on the query, such as features of the keys' positions, is computed once for
    all queries and not counted. The compiler may fuse the array away; it cannot need more.
    """
    jaxpr, query = _one_query(operands, options)
    return largest_bytes(jaxpr, {query})


def flops(operands: Operands, options: Options) -> int:
    """FLOPs of a call, read off the same jaxpr and that of preparing keys, if they are not.

    Of each query those of its scores, weights and average, as `count_flops` counts them.
    """
    jaxpr, query = _one_query(operands, options)
    queries = math.prod(operands.leading(options.score)) * operands.num_queries
    average = 2 * operands.num_keys * operands.values.shape[-1]
    prepare = jax.make_jaxpr(lambda: operands.prepared(options.score).keys)
    once = count_flops(prepare().jaxpr)
    return queries * (count_flops(jaxpr, {query}) + average) + once


def _one_query(operands: Operands, options: Options) -> tuple[Any, Any]:
    """The jaxpr of one query's weights, and its variable for the query."""
    given = jax.eval_shape(lambda: operands.prepared(options.score))
    ndims = options.score.param_ndims if given.params else {}
    params = {
        name: jax.ShapeDtypeStruct(array.shape[array.ndim - ndims[name] :], array.dtype)
        for name, array in given.params.items()
    }
    extras = jax.tree.map(lambda x: jax.ShapeDtypeStruct((), x.dtype), given.extras)
    leaves, tree = jax.tree.flatten(given.keys.arrays)
    cores = given.keys.core_ndims
    keys = [
        jax.ShapeDtypeStruct(leaf.shape[leaf.ndim - core :], leaf.dtype)
        for leaf, core in zip(leaves, cores, strict=True)
    ]
    dtype, num_keys = given.query.dtype, given.values.shape[-2]
    options = dataclasses.replace(options, return_weights=True)

    def one_query(query: Any, keys: Any, arguments: Any) -> Array:
        positions = jnp.arange(num_keys)
        values = jnp.zeros((num_keys, 0), dtype)
        # As in the call: a normaliser may count on it where there is a mask.
        where = None if operands.mask is None else jnp.ones(num_keys, bool)
        arrays = jax.tree.unflatten(tree, keys)
        position = positions.sum()
        one = attend_one(
            options, arguments, query, arrays, values, where, position, positions
        )
        return one.weights

    query = jax.ShapeDtypeStruct(operands.query.shape[-1:], dtype)
    jaxpr = jax.make_jaxpr(one_query)(query, keys, {**params, **extras}).jaxpr
    return jaxpr, jaxpr.invars[0]


class Plan(NamedTuple):
    """How the chunked kernel goes through a call: so many at once.

    Attributes:
      sequences: that are computed at once, at most.
      queries: of each of them in a block.
      blocks: of a sequence.
    """

    sequences: int
    queries: int
    blocks: int


def plan_blocks(operands: Operands, options: Options) -> Plan:
    """Blocks of a sequence, or of several whole ones, within `BLOCK_BYTES`."""
    sequences, num_queries = 1, operands.num_queries
    total = math.prod(operands.leading(options.score))
    share = 1
    if auto_mesh(operands) is not None:
        # All of them: which of them a device has is for the compiler to say.
        sequences, share = max(1, total), max(1, math.ceil(total / jax.device_count()))
    per_query = max(1, bytes_per_query(operands, options))
    chunk = options.chunk_size or max(1, rows_per_block(operands, per_query) // share)
    if operands.mask is not None and options.chunk_size is None:
        # One block that holds every query needs every key that any of them attends to.
        half = math.ceil(num_queries / 2)
        chunk = min(chunk, max(ROWS_OF_SCORES, half))
    # Blocks of equal size with as little padding as possible.
    blocks = max(1, math.ceil(num_queries / chunk))
    queries = math.ceil(num_queries / blocks)
    if sequences == 1 and options.chunk_size is None:
        sequences = max(1, BLOCK_BYTES // max(1, queries * per_query))
    return Plan(sequences, queries, blocks)


def rows_per_block(operands: Operands, per_query: int) -> int:
    """As many queries of `per_query` bytes as keep a block within `BLOCK_BYTES`.

    Where that is so few that each pass over the keys is wasted on them, the fewest that are
    worth it, within `LARGEST_BLOCK_BYTES`.
    """
    scores = operands.num_keys * compute_dtype(operands.query).itemsize
    worthwhile = ROWS_OF_SCORES if per_query <= scores else ROWS_OF_FEATURES
    fewest = min(worthwhile, LARGEST_BLOCK_BYTES // per_query)
    return max(1, BLOCK_BYTES // per_query, fewest)


def largest_bytes(jaxpr: Any, dependent: set[Any]) -> int:
    """Bytes of the largest array in a jaxpr that depends on the given variables."""
    largest = 0
    for equation in _depending(jaxpr, dependent):
        sizes = [_bytes(v.aval) for v in equation.outvars]
        # Inside nested jits and loops, everything is taken to depend.
        inner = [
            largest_bytes(j, set(j.invars)) for j in jaxprs_in_params(equation.params)
        ]
        largest = max((largest, *sizes, *inner))
    return largest


def count_flops(jaxpr: Any, dependent: set[Any] | None = None) -> int:
    """FLOPs of what depends on the given variables (None: of everything).

    Two for each multiplication and addition of a matrix product; of anything else, one for
    each number that it reads or makes, whichever are more: a sum of n numbers counts n.
    Loops of known length are multiplied out.
    """
    total = 0
    for equation in _depending(jaxpr, dependent):
        inner = sum(map(count_flops, jaxprs_in_params(equation.params)))
        if inner:
            total += inner * equation.params.get("length", 1)
        elif equation.primitive is jax.lax.dot_general_p:
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            products = math.prod(shape[axis] for axis in contracted)
            total += 2 * products * math.prod(equation.outvars[0].aval.shape)
        elif equation.primitive.name not in _MOVES:
            touched = (*equation.invars, *equation.outvars)
            total += max(math.prod(v.aval.shape) for v in touched)
    return total


# Primitives that compute nothing.
_MOVES = {
    "broadcast_in_dim",
    "concatenate",
    "convert_element_type",
    "copy",
    "iota",
    "name",
    "reshape",
    "slice",
    "squeeze",
    "stop_gradient",
    "transpose",
}


def _depending(jaxpr: Any, dependent: set[Any] | None) -> Iterator[Any]:
    """The equations that depend on the variables, to which their results are added."""
    for equation in jaxpr.eqns:
        if dependent is not None:
            inputs = [v for v in equation.invars if not isinstance(v, Literal)]
            if not any(v in dependent for v in inputs):
                continue
            dependent.update(equation.outvars)
        yield equation


def _bytes(aval: Any) -> int:
    return int(np.prod(aval.shape, dtype=np.int64)) * np.dtype(aval.dtype).itemsize
