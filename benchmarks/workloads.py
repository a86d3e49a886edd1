"""Named workloads, shared by the benchmark and the tests, and the arrays of one case."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import masks
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
    """The shapes of one attention call: queries [*leading, T, size], and so on.

    Attributes:
      name: what `--workloads` calls it.
      tags: what `--workloads` may call it together with others.
      leading: the leading axes, such as (batch, heads).
      T: queries. S: keys. size: the features of queries, keys and values.
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
    size: int
    mask: str = "full"
    scores: tuple[str, ...] = ("scaled_dot",)
    passes: tuple[str, ...] = PASSES
    prepared: bool = False

    def key_lengths(self) -> np.ndarray:
        """The keys of each sequence, [B, 1, ...] or a scalar; padded, from S/2 to S."""
        if self.mask != "padded":
            return np.full((1,) * len(self.leading), self.S, np.int32)
        if not self.leading:
            return np.asarray(math.ceil(0.75 * self.S), np.int32)
        lengths = np.ceil(np.linspace(self.S / 2, self.S, self.leading[0]))
        return lengths.astype(np.int32).reshape(-1, *(1,) * (len(self.leading) - 1))

    def describe(self) -> str:
        """Its shapes in one line, e.g. "[4x8] T=256 S=256 Q=K=V=64 causal"."""
        leading = "x".join(map(str, self.leading)) or "1"
        return f"[{leading}] T={self.T} S={self.S} Q=K=V={self.size} {self.mask}"


def _square(
    name: str, tags: str, leading: tuple[int, ...], length: int, size: int, **more: Any
) -> Workload:
    """As many queries as keys."""
    return Workload(name, tuple(tags.split()), leading, length, length, size, **more)


def _translation(name: str, tags: str, T: int, S: int, **more: Any) -> Workload:
    """A recurrent translator's: dot, Luong's "general" and Bahdanau's score."""
    scores = ("dot", "bilinear", "additive")
    tags = f"recurrent {tags}"
    return Workload(
        name, tuple(tags.split()), (64,), T, S, 512, "padded", scores, **more
    )


def _dot(length: int, tags: str, *masks: str) -> list[Workload]:
    """B=4, H=8, D=64: self-attention of a small Transformer, with each mask."""
    names = {mask: f"dot_{length}_{mask}".removesuffix("_full") for mask in masks}
    return [
        _square(name, tags, (4, 8), length, 64, mask=mask)
        for mask, name in names.items()
    ]


def _heads() -> list[Workload]:
    """From one short sequence to 512 of them, each with three masks; D=64."""
    return [
        _square(f"heads_{b * h}_{n}_{mask}", "heads", (b, h), n, 64, mask=mask)
        for b, h in ((1, 1), (1, 8), (4, 8), (16, 8), (64, 8))
        for n in (64, 128, 256, 512, 1024)
        for mask in ("full", "causal", "padded")
    ]


_ADDITIVE: dict[str, Any] = {"scores": ("additive",)}
_DECODE: dict[str, Any] = {"passes": (FORWARD,), "prepared": True}
WORKLOADS: tuple[Workload, ...] = (
    _translation("translation", "quick crossover small", 12, 16),
    _square(
        "additive_30", "recurrent quick crossover additive", (32,), 30, 512, **_ADDITIVE
    ),
    _square("additive_512", "additive quick crossover", (), 512, 256, **_ADDITIVE),
    _translation("decode_step", "decode small quick", 1, 16, **_DECODE),
    _translation("decode_step_1024", "decode", 1, 1024, **_DECODE),
    _square("many_small", "small quick crossover", (512, 8), 16, 32),
    *_dot(256, "dot quick", "full", "causal", "padded"),
    # Where `auto` changes over from all rows at once to blocks of them.
    *_dot(384, "crossover", "full", "causal"),
    *_dot(512, "crossover", "full", "causal"),
    *_dot(1024, "dot quick", "full", "causal", "padded"),
    *_dot(4096, "dot long", "full", "causal", "padded"),
    _square("window_4096", "dot long", (4, 8), 4096, 64, mask="window"),
    _square("long_16k", "long", (), 16384, 64),
    *_heads(),
    *(_square(f"length_{2**n}", "length", (), 2**n, 64) for n in range(8, 15)),
)
# What workloads may be called together, in the order that they carry them.
TAGS = ("all", *dict.fromkeys(tag for workload in WORKLOADS for tag in workload.tags))


def select_workloads(selection: Iterable[str]) -> tuple[Workload, ...]:
    """The workloads of these names and tags, each once, in table order."""
    wanted = list(selection)
    known = (*(workload.name for workload in WORKLOADS), *TAGS)
    for one in wanted:
        if one not in known:
            raise unknown_name("workload or tag", one, known)
    return tuple(w for w in WORKLOADS if {*wanted} & {w.name, "all", *w.tags})


@dataclasses.dataclass(frozen=True)
class Case:
    """What every candidate computes: a workload with score, normaliser, dtype and pass.

    "forward" is the context; "gradient" the context and the gradients of Σ context · cotangent
    by query, keys and values. The score's parameters are held fixed, since no baseline has
    them.
    """

    workload: Workload
    score: str
    normalizer: str = "softmax"
    dtype: str = "float32"
    which: str = FORWARD

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
    """A case's NumPy arrays in its dtype, in the layout [*leading, length, features]."""

    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    cotangent: np.ndarray
    params: dict[str, np.ndarray]
    # [B, 1, ...]
    key_lengths: np.ndarray

    def mask(self, case: Case) -> Any:
        """The workload's mask for these key lengths; None without one."""
        return MASKS[case.workload.mask](self.key_lengths)


def make_inputs(case: Case, *, seed: int = 0) -> Inputs:
    """Standard normal arrays and freshly initialised parameters, rounded to the dtype."""
    workload, dtype = case.workload, jnp.dtype(case.dtype)
    rng = np.random.default_rng(seed)

    def normal(length: int) -> np.ndarray:
        shape = (*workload.leading, length, workload.size)
        return rng.standard_normal(shape, np.float32).astype(dtype)

    sizes = dict.fromkeys(("query_size", "key_size", "value_size"), workload.size)
    params = init_score_params(jax.random.key(seed), case.score, **sizes)
    T, S = workload.T, workload.S
    return Inputs(
        *map(normal, (T, S, S, T)),
        params={name: np.asarray(p).astype(dtype) for name, p in params.items()},
        key_lengths=workload.key_lengths(),
    )
