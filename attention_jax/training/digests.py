"""What a checkpoint's arrays must look like when they come back, bit for bit."""

import hashlib
import json
from typing import Any

import jax
import numpy as np


def tree_digest(tree: Any) -> str:
    """SHA-256 over the paths, types, shapes and bytes of a tree's arrays, in hexadecimal.

    Cost: one pass over the bytes, about a second a gigabyte.
    """
    digest = hashlib.sha256()
    for path, kind in tree_shapes(tree).items():
        digest.update(f"{path} {kind}\n".encode())
    for array in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def tree_shapes(tree: Any) -> dict[str, str]:
    """Each array's type and shape by its path: {"encoder/embedding": "float32[50,8]"}."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): _kind(array)
        for path, array in leaves
    }


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _kind(array: Any) -> str:
    return f"{np.dtype(array.dtype).name}[{','.join(map(str, array.shape))}]"
