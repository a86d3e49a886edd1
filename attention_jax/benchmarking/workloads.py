"""Named workloads, shared by the benchmark and the tests."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from attention_jax.benchmarking.workload_masks import (
    MaskKind,
    causal,
    full,
    padded,
    window,
)
from attention_jax.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class Workload:
    """The shapes of one attention call: queries [*leading, T, Q], and so on.

    Attributes:
      name: what `--workloads` calls it.
      tags: what `--workloads` may call it together with others.
      leading: the leading axes, such as (batch, heads).
      T: queries. S: keys. Q: query features. K: key features. V: value features.
      mask: which keys a query may attend to.
      scores: the scores measured when none is asked for.
      passes: the passes that make sense for it; decoding has no gradient.
      prepared: whether what depends on the keys alone is done beforehand, untimed, as a
        decoder does it once per sentence; for peers too.
    """

    name: str
    tags: tuple[str, ...]
    leading: tuple[int, ...]
    T: int
    S: int
    Q: int
    K: int
    V: int
    mask: MaskKind = full
    scores: tuple[str, ...] = ("scaled_dot",)
    passes: tuple[str, ...] = ("forward", "gradient")
    prepared: bool = False

    @property
    def sequences(self) -> int:
        """How many sequences the leading axes hold."""
        return math.prod(self.leading)

    def key_lengths(self) -> np.ndarray:
        """How many keys each sequence has: from S/2 to S in equal steps along the first
        leading axis, all S keys unless the mask is `padded`. [B, 1, ...] or a scalar."""
        if self.mask is not padded:
            return np.full((1,) * len(self.leading), self.S, np.int32)
        if not self.leading:
            return np.asarray(math.ceil(0.75 * self.S), np.int32)
        batch = self.leading[0]
        lengths = np.ceil(np.linspace(self.S / 2, self.S, batch)).astype(np.int32)
        return lengths.reshape(batch, *(1,) * (len(self.leading) - 1))

    def pairs(self) -> int:
        """How many (query, key) pairs the mask allows, over all sequences."""
        per_sequence = self.mask.pairs(self.T, self.S, self.key_lengths())
        return int(per_sequence.sum() * self.sequences // per_sequence.size)

    def describe(self) -> str:
        """Its shapes in one line, e.g. "[4x8] T=256 S=256 Q=K=V=64 causal"."""
        leading = "x".join(map(str, self.leading)) or "1"
        features = f"Q={self.Q} K={self.K} V={self.V}"
        if self.Q == self.K == self.V:
            features = f"Q=K=V={self.Q}"
        return f"[{leading}] T={self.T} S={self.S} {features} {self.mask.name}"


def _square(name, tags, leading, length, size, mask=full, **options) -> Workload:
    return Workload(
        name, tags, leading, length, length, size, size, size, mask, **options
    )


def _dot(length: int) -> list[Workload]:
    """B=4, H=8, D=64: self-attention of a small Transformer."""
    tags = ("dot", *(("long",) if length > 1024 else ("quick",)))
    kinds = [("", full), ("_causal", causal), ("_padded", padded)]
    # Where `auto` changes over from all rows at once to blocks of them.
    if length in (384, 512):
        tags, kinds = ("crossover",), kinds[:2]
    return [
        _square(f"dot_{length}{suffix}", tags, (4, 8), length, 64, mask)
        for suffix, mask in kinds
    ]


# A recurrent translator's scores: the lecture's, Luong's "general" and Bahdanau's.
_TRANSLATION_SCORES = ("dot", "bilinear", "additive")

WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "translation",
        ("recurrent", "small", "quick", "crossover"),
        (64,),
        12,
        16,
        512,
        512,
        512,
        padded,
        scores=_TRANSLATION_SCORES,
    ),
    _square(
        "additive_30",
        ("recurrent", "additive", "quick", "crossover"),
        (32,),
        30,
        512,
        scores=("additive",),
    ),
    _square(
        "additive_512",
        ("additive", "quick", "crossover"),
        (),
        512,
        256,
        scores=("additive",),
    ),
    *(
        Workload(
            f"decode_step{suffix}",
            ("recurrent", "decode", *tags),
            (64,),
            1,
            length,
            512,
            512,
            512,
            padded,
            scores=_TRANSLATION_SCORES,
            passes=("forward",),
            prepared=True,
        )
        for suffix, length, tags in (
            ("", 16, ("small", "quick")),
            ("_1024", 1024, ()),
        )
    ),
    _square("many_small", ("small", "quick", "crossover"), (512, 8), 16, 32),
    *(workload for length in (256, 384, 512, 1024, 4096) for workload in _dot(length)),
    _square("window_4096", ("dot", "long"), (4, 8), 4096, 64, window),
    _square("long_16k", ("long",), (), 16384, 64),
    *(
        _square(f"length_{length}", ("length",), (), length, 64)
        for length in (256, 512, 1024, 2048, 4096, 8192, 16384)
    ),
)

ALL = "all"


def workload_names() -> tuple[str, ...]:
    """The workloads' names."""
    return tuple(workload.name for workload in WORKLOADS)


def workload_tags() -> tuple[str, ...]:
    """The tags that workloads carry, and `all`."""
    found = dict.fromkeys(tag for workload in WORKLOADS for tag in workload.tags)
    return (ALL, *found)


def select_workloads(selection: Iterable[str]) -> tuple[Workload, ...]:
    """The workloads that a sequence of names and tags means, each once, in table order.

    Raises:
      UnknownNameError: something is neither a name nor a tag; lists both.
    """
    selection = list(selection)
    known: Sequence[str] = (*workload_names(), *workload_tags())
    for one in selection:
        if one not in known:
            raise unknown_name("workload or tag", one, known)
    wanted = set(selection)
    return tuple(
        workload
        for workload in WORKLOADS
        if wanted & {workload.name, ALL, *workload.tags}
    )
