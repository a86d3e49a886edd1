"""Compiled programs are kept from run to run, so that a second one starts in seconds."""

import os
import pathlib

_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def keep_compiled() -> None:
    """Points jax's persistent cache at a folder of the user's, before jax is imported.

    The folder is attention_jax/compiled in $XDG_CACHE_HOME or ~/.cache, unless
    JAX_COMPILATION_CACHE_DIR names another or is empty, for none. Nothing there is ever
    needed: it may be deleted.
    """
    if _FOLDER not in os.environ:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = pathlib.Path(cache) / "attention_jax" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        os.environ[_FOLDER] = str(folder)
    # A model's initialisation is fifty short compilations.
    os.environ.setdefault(_SHORTEST, "0")
