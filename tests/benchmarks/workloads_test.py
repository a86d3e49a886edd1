"""Workloads: selection, key lengths, and what is shared with the tests."""

import jax
import pytest

import attention_jax as aj
from benchmarks import candidates, harness
from benchmarks.workloads import (
    TAGS,
    WORKLOADS,
    Case,
    Workload,
    make_inputs,
    select_workloads,
)

NAMES = [workload.name for workload in WORKLOADS]
SMALL = select_workloads(["small"])


def workload(*, leading=(3, 2), T=5, S=7, size=4, mask="full", **options):
    return Workload("mine", (), leading, T, S, size, mask, **options)


def test_selection_by_name_and_tag_in_table_order_once():
    assert len(set(NAMES)) == len(NAMES) and not set(NAMES) & set(TAGS)
    names = [w.name for w in select_workloads(["dot_256_causal", "small", "decode"])]
    assert names == [n for n in NAMES if n in names]
    assert {"dot_256_causal", "translation", "decode_step_1024"} <= set(names)
    assert select_workloads(["all"]) == WORKLOADS
    with pytest.raises(LookupError, match="Did you mean 'dot_256'"):
        select_workloads(["dot_25"])


def test_padded_lengths_vary_from_half_to_all():
    lengths = workload(leading=(4, 2), S=16, mask="padded").key_lengths()
    assert lengths.shape == (4, 1)
    assert lengths.reshape(-1).tolist() == [8, 11, 14, 16]


@pytest.mark.parametrize(
    "implementation",
    [
        pytest.param(name, marks=() if name == "chunked" else pytest.mark.full)
        for name in aj.implementation_names()
    ],
)
@pytest.mark.parametrize(
    ("small", "which"),
    [(w, which) for w in SMALL for which in w.passes],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_implementation_passes_the_correctness_check(
    small, which, implementation
):
    """The benchmark's workloads as tests, one score each: what is timed is right."""
    case = Case(small, small.scores[-1], which=which)
    inputs = make_inputs(case)
    right = harness.expected(case, inputs)
    prepared = candidates.attention_with(implementation)(case, inputs, 2**30)
    actual = prepared.read(jax.block_until_ready(prepared.run()))
    assert set(actual) == set(right)
    error, where = harness.largest_error(actual, right)
    assert error <= harness.tolerance(case), where
