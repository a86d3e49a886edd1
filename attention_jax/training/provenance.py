"""Where a result comes from: versions, commit, device."""

import hashlib
import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

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
    """Python's and the packages' versions; packages not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
    import jax

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
