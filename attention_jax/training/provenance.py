"""Where a result comes from: versions, commit, device; digests of arrays."""

import hashlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
from typing import Any

import jax
import numpy as np

_PACKAGES = ["attention_jax", "jax", "jaxlib", "flax", "optax"]
_PACKAGES += ["orbax-checkpoint", "numpy"]


def environment() -> dict[str, Any]:
    """Versions, commit, device and operating system."""
    devices = jax.devices()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "commit": _git_commit(),
        # As in "NVIDIA H100 80GB HBM3 x1".
        "device": f"{devices[0].device_kind} x{len(devices)}",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _git_commit() -> str:
    """The commit of the checkout this package is in, "+changes" appended when it has
    uncommitted ones; "" outside a checkout of this project."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(pathlib.Path(__file__).parents[1]), *arguments]
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()

    try:
        # Installed inside an environment, the package may lie below another project's
        # checkout, whose commit says nothing about this code.
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + "+changes" * bool(changed)
    except (OSError, subprocess.SubprocessError):
        return ""


def tree_digest(tree: Any) -> str:
    """SHA-256 over the paths, types, shapes and bytes of a tree's arrays, in hexadecimal."""
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
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(array.dtype).name}[{','.join(map(str, array.shape))}]"
        )
        for path, array in leaves
    }


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
