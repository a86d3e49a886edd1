"""Workloads: selection, counts of pairs and operations, and what is shared with the tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.kernels.masking import dense_mask
from benchmarks import candidates, harness
from benchmarks.workloads import (
    DTYPES,
    MASKS,
    PASSES,
    WORKLOADS,
    Case,
    Workload,
    flops,
    make_inputs,
    select_workloads,
    workload_tags,
)

NAMES = [workload.name for workload in WORKLOADS]
SMALL = select_workloads(["small"])


def workload(*, leading=(3, 2), T=5, S=7, size=4, mask="full", **options):
    return Workload("mine", (), leading, T, S, size, size, size, mask, **options)


def test_selection_by_name_and_tag_in_table_order_once():
    assert len(set(NAMES)) == len(NAMES) and not set(NAMES) & set(workload_tags())
    names = [w.name for w in select_workloads(["dot_256_causal", "small", "decode"])]
    assert names == [n for n in NAMES if n in names]
    assert {"dot_256_causal", "translation", "decode_step_1024"} <= set(names)
    assert select_workloads(["all"]) == WORKLOADS
    with pytest.raises(LookupError, match="Did you mean 'dot_256'"):
        select_workloads(["dot_25"])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("leading", [(), (3,), (3, 2)])
@pytest.mark.parametrize(("T", "S"), [(5, 7), (9, 4), (600, 300)])
def test_pairs_are_those_that_the_mask_allows(mask, leading, T, S):
    one = workload(leading=leading, T=T, S=S, mask=mask)
    built, shape = MASKS[mask](one.key_lengths()), (*leading, T, S)
    allowed = np.ones(shape, bool)
    if built is not None:
        allowed = np.asarray(dense_mask(built, jnp.arange(T), jnp.arange(S)))
    assert one.pairs() == np.broadcast_to(allowed, shape).sum()


def test_padded_lengths_vary_from_half_to_all():
    lengths = workload(leading=(4, 2), S=16, mask="padded").key_lengths()
    assert lengths.shape == (4, 1)
    assert lengths.reshape(-1).tolist() == [8, 11, 14, 16]


def test_operations_of_a_dot_product_are_the_textbook_s():
    one = workload(mask="causal")
    pairs = 6 * sum(range(1, 6))
    assert flops(Case(one, "dot")) == pairs * (2 * 4 + 2 * 4)
    assert flops(Case(one, "dot", which="gradient")) == 3 * flops(Case(one, "dot"))


def test_operations_of_a_prepared_score_count_the_keys_once():
    one = workload(leading=())
    prepare = 2 * 7 * 4 * 4
    assert flops(Case(one, "bilinear")) == prepare + one.pairs() * (8 + 8)
    beforehand = Case(workload(leading=(), prepared=True), "bilinear")
    assert flops(beforehand) == one.pairs() * (8 + 8)


@pytest.mark.parametrize("name", aj.score_names())
def test_every_score_s_operations_are_counted(name):
    assert flops(Case(workload(), name)) > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_tolerances(dtype):
    forward, gradient = (
        harness.tolerance(Case(workload(), "dot", dtype=dtype, which=w)) for w in PASSES
    )
    assert 0 < forward < gradient < 0.1


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
