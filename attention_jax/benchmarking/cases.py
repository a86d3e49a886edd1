"""One thing to compute, a workload with its score, normaliser, dtype and pass; its arrays."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.benchmarking.workloads import Workload
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.score import get_score, init_score_params
from attention_jax.kernels.cost_model import count_flops

FORWARD = "forward"
GRADIENT = "gradient"
PASSES = (FORWARD, GRADIENT)
DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclasses.dataclass(frozen=True)
class Case:
    """What every candidate computes.

    Attributes:
      workload: shapes and mask.
      score: anything `get_score` takes. normalizer: anything `get_normalizer` takes.
      dtype: one of DTYPES.
      which: "forward", the context; or "gradient", the context and the gradients of
        Σ context · cotangent by query, keys and values. The score's parameters are held
        fixed, since no peer has them.
    """

    workload: Workload
    score: str
    normalizer: str = "softmax"
    dtype: str = "float32"
    which: str = FORWARD

    @property
    def name(self) -> str:
        """Its five parts in one line."""
        return " ".join(str(part) for part in self.key().values())

    def key(self) -> dict[str, str]:
        """What identifies it, by name."""
        return {
            "workload": self.workload.name,
            "score": self.score,
            "normalizer": self.normalizer,
            "dtype": self.dtype,
            "pass": self.which,
        }


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A case's NumPy arrays in its dtype, in our layout [*leading, length, features].

    Attributes:
      query: [*leading, T, Q]. keys: [*leading, S, K]. values: [*leading, S, V].
      cotangent: [*leading, T, V], fixed, the same for every candidate.
      params: the score's parameters.
      key_lengths: [B, 1, ...].
    """

    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    cotangent: np.ndarray
    params: dict[str, np.ndarray]
    key_lengths: np.ndarray


def make_inputs(case: Case, *, seed: int = 0) -> Inputs:
    """Standard normal arrays and freshly initialised parameters, rounded to the dtype."""
    workload, dtype = case.workload, jnp.dtype(case.dtype)
    rng = np.random.default_rng(seed)

    def normal(length: int, size: int) -> np.ndarray:
        shape = (*workload.leading, length, size)
        return rng.standard_normal(shape, np.float32).astype(dtype)

    params = init_score_params(
        jax.random.key(seed),
        case.score,
        query_size=workload.Q,
        key_size=workload.K,
        value_size=workload.V,
    )
    return Inputs(
        query=normal(workload.T, workload.Q),
        keys=normal(workload.S, workload.K),
        values=normal(workload.S, workload.V),
        cotangent=normal(workload.T, workload.V),
        params={name: np.asarray(p).astype(dtype) for name, p in params.items()},
        key_lengths=workload.key_lengths(),
    )


def check_case(case: Case) -> None:
    """Raises UnknownNameError if the score or the normaliser is unknown."""
    get_score(case.score)
    get_normalizer(case.normalizer)


def flops(case: Case) -> float:
    """The useful floating-point operations of a case, whatever a candidate executes.

        forward  = sequences · prepare + pairs · (score + 2·V)
        gradient = 3 · forward: each product of the forward pass has two in the backward

    `score` is what one query costs per key and `prepare` what the keys cost once, counted
    by `count_flops` on the score of one query (2·Q per key for `dot`).
    Pairs that the mask forbids are not useful, nor is recomputation. Normalisers are not
    counted, as is usual, nor is `prepare` where the workload has it done beforehand.
    A candidate that projects fewer queries rather than the keys does less than `bilinear`
    counts, and may so exceed the peak.
    """
    workload = case.workload
    prepare, score = _score_flops(case)
    if workload.prepared:
        prepare = 0.0
    forward = workload.sequences * prepare
    forward += workload.pairs() * (score + 2 * workload.V)
    return forward * (3 if case.which == GRADIENT else 1)


def _score_flops(case: Case) -> tuple[float, float]:
    """FLOPs of preparing one sequence's keys, and of one score."""
    workload, score = case.workload, get_score(case.score)
    params = init_score_params(
        jax.random.key(0),
        score,
        query_size=workload.Q,
        key_size=workload.K,
        value_size=workload.V,
    )
    query = jax.ShapeDtypeStruct((workload.Q,), jnp.float32)
    keys: Any = jax.ShapeDtypeStruct((workload.S, workload.K), jnp.float32)
    prepare = 0.0
    if score.prepare is not None:
        function = score.prepare
        prepare = _count(lambda keys, params: function(keys, **params), keys, params)
        keys = jax.eval_shape(lambda k, p: function(k, **p), keys, params)

    def one(query: Any, keys: Any, params: Any) -> Any:
        positions = {}
        if score.positions:
            positions = {
                "query_position": jnp.asarray(0),
                "key_positions": jnp.arange(workload.S),
                "key_length": jnp.asarray(workload.S),
            }
        return score(query, keys, **params, **positions)

    return prepare, _count(one, query, keys, params) / workload.S


def _count(function: Any, *arguments: Any) -> float:
    return count_flops(jax.make_jaxpr(function)(*arguments).jaxpr)
