"""The registry of what else one could use, each measured when it can be imported.

A peer gets its arrays in the layout it prefers; no transposition is timed.
"""

import dataclasses
import importlib
import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from attention_jax.benchmarking.candidates import Candidate, Unsupported
from attention_jax.benchmarking.cases import Case
from attention_jax.registry import Registry

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


def projected(case: Case, query: Any, params: Any) -> Any:
    """The query that a dot product with the keys needs; works for any array library."""
    return query @ params["w"] if case.score == "bilinear" else query


def dense_mask(case: Case, key_lengths: np.ndarray) -> np.ndarray | None:
    """The mask as booleans, broadcastable to [*leading, T, S]; None without one."""
    import jax.numpy as jnp

    from attention_jax.kernels.masking import dense_mask as dense

    workload = case.workload
    mask = workload.mask.build(key_lengths)
    if mask is None:
        return None
    array = np.asarray(dense(mask, jnp.arange(workload.T), jnp.arange(workload.S)))
    missing = len(workload.leading) + 2 - array.ndim
    return array.reshape((1,) * missing + array.shape)
