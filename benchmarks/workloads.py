"""Named workloads, shared by the benchmark and the tests; the arrays and FLOPs of one case."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
from attention_jax.attention import explain_attention
from attention_jax.errors import unknown_name
from attention_jax.functions.score import init_score_params

FORWARD = "forward"
GRADIENT = "gradient"
PASSES = (FORWARD, GRADIENT)
DTYPES = ("float32", "bfloat16", "float16", "float64")
# How many earlier keys a query sees in a sliding window, besides its own.
WINDOW = 256

# The kinds of mask: key lengths [B, 1, ...] -> a mask, or None for no mask.
MASKS: dict[str, Callable[[np.ndarray], Any]] = {
    "full": lambda lengths: None,
    "causal": lambda lengths: masks.causal(),
    "padded": masks.padding,
    "window": lambda lengths: masks.window(WINDOW, 0),
}


@dataclasses.dataclass(frozen=True)
class Workload:
    """The shapes of one attention call: queries [*leading, T, Q], and so on.

    Attributes:
      name: what `--workloads` calls it.
      tags: what `--workloads` may call it together with others.
      leading: the leading axes, such as (batch, heads).
      T: queries. S: keys. Q: query features. K: key features. V: value features.
      mask: one of MASKS.
      scores: the scores measured when none is asked for.
      passes: the passes that make sense for it; decoding has no gradient.
      prepared: whether what depends on the keys alone is done beforehand, untimed, as a
        decoder does it once per sentence; for baselines too.
    """

    name: str
    tags: tuple[str, ...]
    leading: tuple[int, ...]
    T: int
    S: int
    Q: int
    K: int
    V: int
    mask: str = "full"
    scores: tuple[str, ...] = ("scaled_dot",)
    passes: tuple[str, ...] = PASSES
    prepared: bool = False

    def key_lengths(self) -> np.ndarray:
        """The number of keys of each sequence, [B, 1, ...] or a scalar.

        With the mask `padded` from S/2 to S in equal steps along the first leading axis,
        otherwise S.
        """
        if self.mask != "padded":
            return np.full((1,) * len(self.leading), self.S, np.int32)
        if not self.leading:
            return np.asarray(math.ceil(0.75 * self.S), np.int32)
        batch = self.leading[0]
        lengths = np.ceil(np.linspace(self.S / 2, self.S, batch)).astype(np.int32)
        return lengths.reshape(batch, *(1,) * (len(self.leading) - 1))

    def pairs(self) -> int:
        """The number of (query, key) pairs that the mask allows, over all sequences."""
        sequences = math.prod(self.leading)
        if self.mask in ("causal", "window"):
            last = np.minimum(np.arange(self.T), self.S - 1)
            reach = WINDOW if self.mask == "window" else self.T
            first = np.maximum(np.arange(self.T) - reach, 0)
            return int(sequences * np.maximum(last - first + 1, 0).sum())
        lengths = self.key_lengths().astype(np.int64)
        return int(self.T * lengths.sum() * sequences // lengths.size)

    def describe(self) -> str:
        """Its shapes in one line, e.g. "[4x8] T=256 S=256 Q=K=V=64 causal"."""
        leading = "x".join(map(str, self.leading)) or "1"
        features = f"Q={self.Q} K={self.K} V={self.V}"
        if self.Q == self.K == self.V:
            features = f"Q=K=V={self.Q}"
        return f"[{leading}] T={self.T} S={self.S} {features} {self.mask}"


def _square(name, tags, leading, length, size, mask="full", **options) -> Workload:
    return Workload(
        name, tags, leading, length, length, size, size, size, mask, **options
    )


def _dot(length: int) -> list[Workload]:
    """B=4, H=8, D=64: self-attention of a small Transformer."""
    tags = ("dot", "long" if length > 1024 else "quick")
    kinds = ["full", "causal", "padded"]
    # Where `auto` changes over from all rows at once to blocks of them.
    if length in (384, 512):
        tags, kinds = ("crossover",), kinds[:2]
    return [
        _square(
            f"dot_{length}" + f"_{mask}" * (mask != "full"),
            tags,
            (4, 8),
            length,
            64,
            mask,
        )
        for mask in kinds
    ]


# A recurrent translator's scores: dot, Luong's "general" and Bahdanau's.
_TRANSLATION_SCORES = ("dot", "bilinear", "additive")


def _translation(name, tags, T, S, **options) -> Workload:
    scores = _TRANSLATION_SCORES
    return Workload(
        name, tags, (64,), T, S, 512, 512, 512, "padded", scores=scores, **options
    )


_DECODE: dict[str, Any] = {"passes": (FORWARD,), "prepared": True}
_RECURRENT = ("recurrent", "quick", "crossover")

WORKLOADS: tuple[Workload, ...] = (
    _translation("translation", (*_RECURRENT, "small"), 12, 16),
    _square(
        "additive_30", (*_RECURRENT, "additive"), (32,), 30, 512, scores=("additive",)
    ),
    _square(
        "additive_512",
        ("additive", "quick", "crossover"),
        (),
        512,
        256,
        scores=("additive",),
    ),
    _translation(
        "decode_step", ("recurrent", "decode", "small", "quick"), 1, 16, **_DECODE
    ),
    _translation("decode_step_1024", ("recurrent", "decode"), 1, 1024, **_DECODE),
    _square("many_small", ("small", "quick", "crossover"), (512, 8), 16, 32),
    *(workload for length in (256, 384, 512, 1024, 4096) for workload in _dot(length)),
    _square("window_4096", ("dot", "long"), (4, 8), 4096, 64, "window"),
    _square("long_16k", ("long",), (), 16384, 64),
    *(
        _square(f"length_{length}", ("length",), (), length, 64)
        for length in (256, 512, 1024, 2048, 4096, 8192, 16384)
    ),
)


def workload_tags() -> tuple[str, ...]:
    """The tags that workloads carry, and `all`."""
    found = dict.fromkeys(tag for workload in WORKLOADS for tag in workload.tags)
    return ("all", *found)


def select_workloads(selection: Iterable[str]) -> tuple[Workload, ...]:
    """The workloads of these names and tags, each once, in table order.

    Raises:
      UnknownNameError: something is neither a name nor a tag; lists both.
    """
    wanted = list(selection)
    known = (*(workload.name for workload in WORKLOADS), *workload_tags())
    for one in wanted:
        if one not in known:
            raise unknown_name("workload or tag", one, known)
    return tuple(w for w in WORKLOADS if {*wanted} & {w.name, "all", *w.tags})


@dataclasses.dataclass(frozen=True)
class Case:
    """What every candidate computes: a workload with score, normaliser, dtype and pass.

    Attributes:
      workload: shapes and mask.
      score: anything `get_score` takes. normalizer: anything `get_normalizer` takes.
      dtype: one of DTYPES.
      which: "forward", the context; or "gradient", the context and the gradients of
        Σ context · cotangent by query, keys and values. The score's parameters are held
        fixed, since no baseline has them.
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
    """A case's NumPy arrays in its dtype, in the layout [*leading, length, features].

    Attributes:
      query: [*leading, T, Q]. keys: [*leading, S, K]. values: [*leading, S, V].
      cotangent: [*leading, T, V], the same for every candidate.
      params: the score's parameters.
      key_lengths: [B, 1, ...].
    """

    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    cotangent: np.ndarray
    params: dict[str, np.ndarray]
    key_lengths: np.ndarray

    def mask(self, case: Case) -> Any:
        """The workload's mask for these key lengths; None without one."""
        return MASKS[case.workload.mask](self.key_lengths)


def make_inputs(case: Case, *, seed: int = 0) -> Inputs:
    """Standard normal arrays and freshly initialised parameters, rounded to the dtype."""
    workload, dtype = case.workload, jnp.dtype(case.dtype)
    rng = np.random.default_rng(seed)

    def normal(length: int, size: int) -> np.ndarray:
        shape = (*workload.leading, length, size)
        return rng.standard_normal(shape, np.float32).astype(dtype)

    params = _params(case, seed)
    return Inputs(
        query=normal(workload.T, workload.Q),
        keys=normal(workload.S, workload.K),
        values=normal(workload.S, workload.V),
        cotangent=normal(workload.T, workload.V),
        params={name: np.asarray(p).astype(dtype) for name, p in params.items()},
        key_lengths=workload.key_lengths(),
    )


def _params(case: Case, seed: int = 0) -> dict[str, Any]:
    w = case.workload
    sizes = {"query_size": w.Q, "key_size": w.K, "value_size": w.V}
    return init_score_params(jax.random.key(seed), case.score, **sizes)


def flops(case: Case) -> float:
    """The useful floating-point operations of a case, whatever a candidate executes.

        forward  = sequences · prepare + pairs · (score + 2·V)
        gradient = 3 · forward: each product of the forward pass has two in the backward

    `score` is what one query costs per key and `prepare` what the keys cost once, as
    `explain_attention` counts them (2·Q per key for `dot`). Pairs that the mask forbids,
    recomputation and normalisers do not count, nor does `prepare` where the workload has
    it done beforehand. A candidate that projects fewer queries rather than the keys does
    less than `bilinear` counts, and so may exceed the peak.
    """
    w, params = case.workload, _params(case)

    def one_sequence(queries: int) -> int:
        shapes = (queries, w.Q), (w.S, w.K), (w.S, w.V)
        arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        options = {"score": case.score, "normalizer": _as_is}
        return explain_attention(*arrays, params=params, **options).flops

    a_query = one_sequence(2) - one_sequence(1)
    prepare = 0 if w.prepared else one_sequence(1) - a_query
    forward = math.prod(w.leading) * prepare + w.pairs() * a_query / w.S
    return forward * (3 if case.which == GRADIENT else 1)


def _as_is(scores: Any, where: Any = None) -> Any:
    """A normaliser that costs nothing."""
    return scores
