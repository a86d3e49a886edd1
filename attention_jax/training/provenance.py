"""Where a result comes from: versions, commit, device; digests of files and arrays."""

import hashlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
from typing import Any

import jax
import numpy as np

PACKAGES = (
    "attention_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
)


def versions() -> dict[str, str]:
    """Python's and the packages' versions."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def git_commit() -> str:
    """The commit of the checkout this package is in, "+changes" appended when it has
    uncommitted ones; "" outside a checkout of this project."""
    package = pathlib.Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(package), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return answer.stdout.strip()

    try:
        # Installed inside an environment, the package may lie below another project's
        # checkout, whose commit says nothing about this code.
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + "+changes" * bool(changed)


def device() -> str:
    """The first device, e.g. "cpu x1" or "NVIDIA H100 80GB HBM3 x1"."""
    devices = jax.devices()
    return f"{devices[0].device_kind} x{len(devices)}"


def environment() -> dict[str, Any]:
    """Versions, commit, device and operating system."""
    return {
        "versions": versions(),
        "commit": git_commit(),
        "device": device(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def file_hash(path: pathlib.Path) -> str:
    """The file's SHA-256, in hexadecimal.

    Raises:
      OSError: the file cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(array.dtype).name}[{','.join(map(str, array.shape))}]"
        )
        for path, array in leaves
    }


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
