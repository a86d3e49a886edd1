"""Recurrent encoder-decoders with attention wired in one of several ways."""

import warnings
from typing import Any

from attention_jax import nn
from attention_jax.models.attention_wiring import Wiring, register_wiring
from attention_jax.models.base import Model, ModelOutput, Params
from attention_jax.models.factory import build_model, check_config

__all__ = [
    "Model",
    "ModelOutput",
    "Params",
    "Wiring",
    "build_model",
    "check_config",
    "register_wiring",
]


def __getattr__(name: str) -> Any:
    """Names of `attention_jax.nn`, which were here before there was one."""
    if name not in nn.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"attention_jax.models.{name} is deprecated: import it from attention_jax.nn",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(nn, name)
