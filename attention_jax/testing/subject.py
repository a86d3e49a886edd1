"""A score under check: its arrays, and the ways to call it that checks share."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from attention_jax.attention import AttentionOutput, attention
from attention_jax.functions.score import get_score, init_score_params
from attention_jax.types import Array

# Numbers of keys and of queries: primes, and no feature size among them, so that no axis
# passes for another.
LENGTHS = (0, 1, 7, 11)
LENGTH, SHORTER, QUERIES = 7, 4, 5
ORDER = np.array([3, 0, 6, 1, 5, 2, 4])
# Each query is forbidden some key; key 2 is forbidden to all, and the last query all keys.
MASK = np.arange(QUERIES)[:, None] != np.arange(LENGTH)[None, :] % QUERIES
MASK &= (np.arange(LENGTH) != 2) & (np.arange(QUERIES)[:, None] != QUERIES - 1)
# By the precision that the score computes in: how far two ways to one result may be apart,
# relative to the largest value, which a mistake exceeds by far; then the step of central
# differences and how far they may be off.
TOLERANCES = {"float64": (1e-9, 1e-5, 1e-5), "float32": (1e-3, 1e-2, 5e-2)}
HALF_PRECISION = (2e-1, 1e-1, 0.5)


# The feature sizes Q, K, A and V; small and unequal, but for Q = K.
SIZES = {"query_size": 6, "key_size": 6, "alignment_size": 4, "value_size": 5}

# Query, keys and params: what a score is differentiated by.
Data = tuple[Any, Any, dict[str, Any]]


class Point(NamedTuple):
    """The arguments of one call of the score: [Q], [S, K], params, positions by name."""

    query: Any
    keys: Any
    params: dict[str, Any]
    positions: dict[str, Any]

    @property
    def data(self) -> Data:
        return self[:3]

    def at(self, data: Data) -> "Point":
        """The same with other data."""
        return Point(*data, self.positions)

    def part_names(self) -> list[str]:
        """The names of the leaves of `data`, in jax's order."""
        return ["query", "keys", *sorted(self.params)]


class Subject:
    """A score, what `attention` is called with beside it, and arrays of its sizes."""

    def __init__(
        self,
        reference: Any,
        *,
        normalizer: Any = "softmax",
        implementation: str = "reference",
        given_sizes: Mapping[str, int] | None = None,
        seed: int = 0,
    ):
        self.reference = reference
        self.score = get_score(reference)
        given = {name: int(size) for name, size in (given_sizes or {}).items()}
        self.sizes = SIZES | given
        self.seed = seed
        self.options: dict[str, Any] = {
            "score": self.score,
            "normalizer": normalizer,
            "implementation": implementation,
            "chunk_size": 2,
        }

    def initial_params(self, rng: Array) -> dict[str, Array]:
        """The initial parameters, in float32."""
        return init_score_params(rng, self.score, **self.sizes, dtype=jnp.float32)

    @functools.cached_property
    def params(self) -> dict[str, Array]:
        """Generic parameters: initial ones may be zeros or ones, moved off them."""
        rng = np.random.default_rng(self.seed)
        initial = self.initial_params(jax.random.key(self.seed))
        return {
            name: jnp.asarray(value, jnp.float64)
            + 0.1 * rng.standard_normal(np.shape(value))
            for name, value in initial.items()
        }

    def point(self, length: int = LENGTH, *, draw: int = 0) -> Point:
        """Generic float64 arguments; a shorter one's keys are the first of a longer one."""
        rng = np.random.default_rng([self.seed, draw])
        query = rng.standard_normal(self.sizes["query_size"])
        keys = rng.standard_normal((length, self.sizes["key_size"]))
        positions = {
            "query_position": jnp.asarray(2),
            "key_positions": jnp.arange(length),
            # Of the longest, as if the keys beyond a shorter one were masked.
            "key_length": jnp.asarray(max(LENGTHS)),
        }
        return Point(jnp.asarray(query), jnp.asarray(keys), self.params, positions)

    def prepared(self, point: Point) -> Any:
        """What the score receives as keys."""
        if self.score.prepare is None:
            return point.keys
        return self.score.prepare(point.keys, **point.params)

    def call(self, point: Point) -> Any:
        """The scores, [S]; whatever the score returns, unchecked."""
        positions = point.positions if self.score.positions else {}
        keys = self.prepared(point)
        return self.score(point.query, keys, **point.params, **positions)

    def shape(self, length: int = LENGTH, dtype: Any = jnp.float64) -> Any:
        """The shape and dtype of the scores of `length` keys of a dtype; traced anew."""
        point = self.point(length)
        data = jax.tree.map(lambda leaf: leaf.astype(dtype), point.data)
        return jax.eval_shape(lambda point: self.call(point), point.at(data))

    def jaxpr(self, point: Point) -> Any:
        """The program of one call, traced anew."""
        return jax.make_jaxpr(lambda point: self.call(point))(point)

    @functools.cached_property
    def precision(self) -> str:
        """The narrowest floating-point type that it computes float64 arguments in."""
        found = [
            variable.aval.dtype
            for equation in equations(self.jaxpr(self.point()))
            for variable in equation.outvars
            if jnp.issubdtype(getattr(variable.aval, "dtype", np.int32), jnp.floating)
        ]
        return str(min(found, key=lambda d: d.itemsize, default=np.dtype("float64")))

    @property
    def tolerances(self) -> tuple[float, float, float]:
        """The row of TOLERANCES for its precision."""
        return TOLERANCES.get(self.precision, HALF_PRECISION)

    def agree(self, actual: Any, expected: Any) -> bool:
        """Whether two ways gave the same result."""
        return distance(actual, expected) <= self.tolerances[0]

    @functools.cached_property
    def compiled(self) -> Callable[[Point], Array]:
        """`call`, jitted: compiled once for each length."""
        return quick_jit(lambda point: self.call(point))

    @functools.cached_property
    def gradient(self) -> Callable[[Point], tuple[Array, Data]]:
        """Σ_i c_i e_i over the finite scores, the c generic, and its gradient, jitted."""

        def total(data: Data, point: Point) -> Array:
            found = self.call(point.at(data))
            factors = np.random.default_rng(0).uniform(1, 2, found.shape[0])
            kept = jnp.where(jnp.isfinite(found), found, jnp.zeros((), found.dtype))
            return jnp.sum(kept * jnp.asarray(factors, found.dtype))

        return quick_jit(lambda p: jax.value_and_grad(total)(p.data, p))

    def sequences(self) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Queries [2, T, Q], keys [2, S, K], values [2, S, V], and params."""
        points = [self.point(draw=draw) for draw in range(2 * QUERIES)]
        queries = jnp.stack([point.query for point in points])
        keys = jnp.stack([point.keys for point in points[:2]])
        rng = np.random.default_rng(self.seed)
        values = rng.standard_normal((2, LENGTH, self.sizes["value_size"]))
        return queries.reshape(2, QUERIES, -1), keys, jnp.asarray(values), self.params

    def attend(self, data: Any, mask: Any = MASK, **options: Any) -> AttentionOutput:
        """`attention` with this score, with weights."""
        *arrays, params = data
        options = {"key_positions": np.arange(arrays[1].shape[-2]), **options}
        options = {**self.options, "params": params, "mask": mask, **options}
        return attention(*arrays, return_weights=True, **options)

    @functools.cached_property
    def with_gradients(self) -> Callable[..., dict[str, Any]]:
        """(sequences, mask, options) -> contexts, weights, and the gradients of a sum of
        the contexts' sines and of statistics; jitted.
        """

        def outputs(data: Any, mask: Any, **options: Any) -> dict[str, Any]:
            def loss(data: Any) -> tuple[Array, tuple[Array, Any]]:
                names = ("entropy", "max_weight", "logsumexp")
                found = self.attend(data, mask, statistics=names, **options)
                total = jnp.sum(jnp.sin(found.context))
                for value in found.statistics.values():
                    total += jnp.sum(jnp.where(jnp.isfinite(value), value, 0))
                return total, (found.context, found.weights)

            gradient, (context, weights) = jax.grad(loss, has_aux=True)(data)
            return {"contexts": context, "weights": weights, "gradients": gradient}

        return quick_jit(outputs, static_argnames=("implementation", "chunk_size"))


def quick_jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` for programs that run a few times: compiled quickly, not to be fast."""
    if jax.default_backend() == "cpu":
        options["compiler_options"] = {
            "xla_backend_optimization_level": 0,
            "xla_llvm_disable_expensive_passes": True,
            "xla_cpu_use_fusion_emitters": False,
        }
    return jax.jit(function, **options)


def distance(actual: Any, expected: Any) -> float:
    """The largest difference over pytrees, relative to the largest expected value of a leaf;
    that of unequal infinities and NaNs is infinite.
    """
    worst = 0.0
    leaves = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for pair in leaves:
        a, b = (np.asarray(leaf).astype(np.float64) for leaf in pair)
        if a.shape != b.shape:
            return np.inf
        differs = (a != b) & ~(np.isnan(a) & np.isnan(b))
        if not np.isfinite([a[differs], b[differs]]).all():
            return np.inf
        largest = np.max(np.abs(b), where=np.isfinite(b), initial=0) or 1
        off = np.abs(a[differs] - b[differs])
        worst = max(worst, float(np.max(off, initial=0)) / largest)
    return worst


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those inside it: jits, loops, custom derivatives."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)
