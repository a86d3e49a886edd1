"""Compiled programs are kept from run to run, so that a second one starts in seconds."""

import os
import pathlib

_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def keep_compiled() -> None:
    """Points jax's persistent cache at a folder of the user's, before jax is imported.

    The folder is `compiled` in $ATTENTION_JAX_CACHE, $XDG_CACHE_HOME/attention_jax or
    ~/.cache/attention_jax, as for downloads, unless JAX_COMPILATION_CACHE_DIR names another
    or is empty, for none. Nothing there is ever needed: it may be deleted.
    """
    if _FOLDER not in os.environ:
        shared = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        own = os.environ.get("ATTENTION_JAX_CACHE") or f"{shared}/attention_jax"
        folder = pathlib.Path(own) / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        os.environ[_FOLDER] = str(folder)
    # A model's initialisation is fifty short compilations.
    os.environ.setdefault(_SHORTEST, "0")
