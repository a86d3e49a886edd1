"""Former module names keep working for one release, with a warning."""

import importlib
import subprocess
import sys

import pytest

from attention_jax.moved import MOVED, RENAMED


@pytest.mark.parametrize("former", sorted(MOVED))
def test_a_former_module_gives_the_names_of_its_successors(former):
    module = importlib.import_module(f"attention_jax.{former}")
    for place in MOVED[former].split():
        successor = importlib.import_module(f"attention_jax.{place}")
        name = next(n for n in vars(successor) if not n.startswith("_"))
        with pytest.warns(DeprecationWarning, match=f"{former}.{name} is deprecated"):
            getattr(module, name)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = module.nothing_of_the_kind


@pytest.mark.parametrize(("former", "full"), RENAMED.items())
def test_a_former_name_gives_its_successor(former, full):
    place, _, now = f"attention_jax.{full}".rpartition(".")
    successor = getattr(importlib.import_module(place), now)
    module, _, name = f"attention_jax.{former}".rpartition(".")
    with pytest.warns(DeprecationWarning, match=f"import {now} from {place}"):
        assert getattr(importlib.import_module(module), name) is successor


def test_the_warning_names_the_users_line():
    code = "from attention_jax.combinators import soft_cap"
    found = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "<string>:1: DeprecationWarning: attention_jax.combinators.soft_cap" in (
        found.stderr
    )
