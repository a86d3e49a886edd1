"""The registry of what else one could use, each measured when it can be imported.

A peer gets its arrays in the layout it prefers; no transposition is timed.
"""

import dataclasses
import importlib
import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from attention_jax.benchmarking.candidates import (
    Candidate,
    Unsupported,
    batch_and_heads,
)
from attention_jax.benchmarking.cases import Case, Inputs
from attention_jax.benchmarking.workload_masks import padded
from attention_jax.functions.registry import Registry
from attention_jax.kernels.masking import dense_mask as dense

# Scores that are a dot product of the query, perhaps projected, and the keys.
DOT_PRODUCTS = ("dot", "scaled_dot", "bilinear")


@dataclasses.dataclass(frozen=True)
class Peer:
    """Something to compare with.

    Attributes:
      name: what `--peers` calls it.
      module: what must be importable. package: whose version is recorded.
      prepare: the candidate.
    """

    name: str
    module: str
    package: str
    prepare: Candidate


peers: Registry[Peer] = Registry("peer")


def register_peer(name: str, *, module: str, package: str) -> Callable:
    """Registers a candidate as the peer `name`."""

    def decorate(prepare: Candidate) -> Candidate:
        peers.register(name, Peer(name, module, package, prepare), function=prepare)
        return prepare

    return decorate


def peer_names() -> tuple[str, ...]:
    """The peers' names, installed or not."""
    from attention_jax.benchmarking import jax_peers, torch_peers

    # Importing them registers theirs; neither imports its library yet.
    del jax_peers, torch_peers
    return peers.names()


def load(name: str) -> str:
    """Imports a peer's library; its version.

    Raises:
      Unsupported: it cannot be imported; says why.
    """
    # Keras reads its backend when it is imported.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    peer = peers.get(name)
    try:
        importlib.import_module(peer.module)
        return importlib.metadata.version(peer.package)
    except Exception as error:
        # A broken install raises anything.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise Unsupported(f"cannot import {peer.module}: {reason}") from error


def need(case: Case, *, scores: tuple[str, ...], normalizers: tuple[str, ...]) -> None:
    """Raises Unsupported unless the case's score and normaliser are among these."""
    if case.score not in scores:
        raise Unsupported(f"has no score {case.score!r}")
    if case.normalizer not in normalizers:
        raise Unsupported(f"has no normaliser {case.normalizer!r}")


def scale(case: Case) -> float:
    """What a dot product is multiplied by."""
    return case.workload.Q**-0.5 if case.score == "scaled_dot" else 1.0


def as_dot_product(case: Case, inputs: Inputs) -> tuple[Inputs, bool]:
    """The arrays of a score among DOT_PRODUCTS, and whether the query is to be projected.

    A peer computes qᵀ W k as (Wᵀ q)·k, or, where keys are prepared beforehand, as q·(W k).
    """
    if case.score != "bilinear" or not case.workload.prepared:
        return inputs, case.score == "bilinear"
    weight = inputs.params["w"].astype(np.float32)
    keys = (inputs.keys.astype(np.float32) @ weight.T).astype(inputs.keys.dtype)
    return dataclasses.replace(inputs, keys=keys), False


def dense_mask(case: Case, key_lengths: np.ndarray) -> np.ndarray | None:
    """The mask as booleans, broadcastable to [*leading, T, S], one row where all rows are
    equal; None without a mask."""
    workload = case.workload
    mask = workload.mask.build(key_lengths)
    if mask is None:
        return None
    rows = 1 if workload.mask is padded else workload.T
    array = np.asarray(dense(mask, jnp.arange(rows), jnp.arange(workload.S)))
    missing = len(workload.leading) + 2 - array.ndim
    return array.reshape((1,) * missing + array.shape)


def four_axes(case: Case, inputs: Inputs, *, unless: Any = None) -> np.ndarray | None:
    """The mask as [B, H, T, S], each 1 where it does not vary; None without a mask, or
    where its kind is `unless`."""
    if case.workload.mask is unless:
        return None
    mask = dense_mask(case, inputs.key_lengths)
    if mask is None:
        return None
    return mask.reshape(batch_and_heads(mask.shape[:-2]) + mask.shape[-2:])
