"""Workloads: selection, counts of pairs and operations, and what is shared with the tests."""

import jax
import numpy as np
import pytest

import attention_jax as aj
from attention_jax.benchmarking import gate
from attention_jax.benchmarking.candidates import own
from attention_jax.benchmarking.cases import Case, flops, make_inputs
from attention_jax.benchmarking.peers import dense_mask
from attention_jax.benchmarking.workload_masks import causal, full, padded, window
from attention_jax.benchmarking.workloads import (
    WORKLOADS,
    Workload,
    select_workloads,
    workload_names,
    workload_tags,
)

SMALL = select_workloads(["small"])


def workload(*, leading=(3, 2), T=5, S=7, size=4, mask=full):
    return Workload("mine", (), leading, T, S, size, size, size, mask)


def test_names_differ_and_are_no_tags():
    names = workload_names()
    assert len(set(names)) == len(names)
    assert not set(names) & set(workload_tags())


def test_selection_by_name_and_tag_in_table_order_once():
    names = [w.name for w in select_workloads(["dot_256_causal", "small", "decode"])]
    assert names == [n for n in workload_names() if n in names]
    assert {"dot_256_causal", "translation", "decode_step_1024"} <= set(names)
    assert select_workloads(["all"]) == WORKLOADS


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(LookupError, match="Did you mean 'dot_256'"):
        select_workloads(["dot_25"])


@pytest.mark.parametrize("mask", [full, causal, padded, window], ids=lambda m: m.name)
@pytest.mark.parametrize("leading", [(), (3,), (3, 2)])
@pytest.mark.parametrize(("T", "S"), [(5, 7), (9, 4), (600, 300)])
def test_pairs_are_those_that_the_mask_allows(mask, leading, T, S):
    one = workload(leading=leading, T=T, S=S, mask=mask)
    allowed = dense_mask(Case(one, "dot"), one.key_lengths())
    shape = (*leading, T, S)
    count = np.prod(shape) if allowed is None else np.broadcast_to(allowed, shape).sum()
    assert one.pairs() == count


def test_padded_lengths_vary_from_half_to_all():
    lengths = workload(leading=(4, 2), S=16, mask=padded).key_lengths()
    assert lengths.shape == (4, 1)
    assert lengths.reshape(-1).tolist() == [8, 11, 14, 16]


def test_operations_of_a_dot_product_are_the_textbook_s():
    one = workload(mask=causal)
    pairs = 6 * sum(range(1, 6))
    assert flops(Case(one, "dot")) == pairs * (2 * 4 + 2 * 4)
    assert flops(Case(one, "dot", which="gradient")) == 3 * flops(Case(one, "dot"))


def test_operations_of_a_prepared_score_count_the_keys_once():
    one = workload(leading=())
    prepare = 2 * 7 * 4 * 4
    assert flops(Case(one, "bilinear")) == prepare + one.pairs() * (8 + 8)


@pytest.mark.parametrize("name", aj.score_names())
def test_every_score_s_operations_are_counted(name):
    assert flops(Case(workload(), name)) > 0


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
def test_every_implementation_passes_the_gate(small, which, implementation):
    """The benchmark's workloads as tests, one score each: what is timed is right."""
    case = Case(small, small.scores[-1], which=which)
    inputs = make_inputs(case)
    right = gate.expected(case, inputs)
    prepared = own(implementation)(case, inputs, 2**30)
    actual = prepared.read(jax.block_until_ready(prepared.run()))
    assert set(actual) == set(right)
    error, where = gate.largest_error(actual, right)
    assert error <= gate.tolerance(case), where
