"""Strict modes for every test: no silent promotion, no silent warning."""

import os

# The programs that tests start would otherwise fill, and depend on, the user's cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")

import jax
import pytest

from attention_jax.normalizer_function import normalizers
from attention_jax.score_function import scores

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def x64():
    """Runs a test with 64-bit types enabled."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def registrations_end_with_the_test():
    """What one test registers, no other sees: tests run in any order."""
    before = [(r, dict(r._entries), dict(r._origins)) for r in (scores, normalizers)]
    yield
    for registry, entries, origins in before:
        registry._entries, registry._origins = entries, origins
