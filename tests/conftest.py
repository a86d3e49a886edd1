"""Strict modes for every test: no silent promotion, no silent warning."""

import os
import pathlib

# The programs that tests start would otherwise fill, and depend on, the user's cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")

import jax
import pytest

from attention_jax.functions.normalizer import normalizers
from attention_jax.functions.score import scores

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


# Linux lets a process map 65,530 regions; each compiled program takes some ten of them, and what
# a suite in one process compiles would abort it.
_MOST_MAPPED_REGIONS = 20_000
_MAPPED_REGIONS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_do_not_pile_up():
    """Forgets them at the end of a module when there are many."""
    yield
    if not _MAPPED_REGIONS.exists():
        return
    if _MAPPED_REGIONS.read_bytes().count(b"\n") > _MOST_MAPPED_REGIONS:
        jax.clear_caches()


@pytest.fixture
def x64():
    """Runs a test with 64-bit types enabled."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def registrations_end_with_the_test():
    """What one test registers, no other sees: tests run in any order."""
    before = [(registry, dict(registry.entries)) for registry in (scores, normalizers)]
    yield
    for registry, entries in before:
        registry.entries = entries
