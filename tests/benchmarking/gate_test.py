"""The gate: its answers are right, by blocks as at once, and wrong ones are found."""

import dataclasses

import numpy as np
import pytest

from attention_jax.benchmarking import gate
from attention_jax.benchmarking.cases import DTYPES, PASSES, Case, make_inputs
from attention_jax.benchmarking.workload_masks import causal, padded
from tests import oracles
from tests.benchmarking.cases import workload


@pytest.mark.parametrize("score", ["scaled_dot", "additive"])
def test_the_answer_is_the_oracle_s(score):
    case = Case(workload(leading=(), mask=padded), score)
    inputs = make_inputs(case)
    right = gate.expected(case, inputs)["context"]
    assert right.dtype == np.float64
    allowed = np.arange(7) < inputs.key_lengths
    for row, query in zip(right, inputs.query.astype(np.float64), strict=True):
        params = {name: p.astype(np.float64) for name, p in inputs.params.items()}
        e = [oracles.SCORES[score](query, k, params, 0, 7) for k in inputs.keys]
        weights = np.where(allowed, np.exp(np.array(e) - max(e)), 0)
        expected = weights / weights.sum() @ inputs.values
        np.testing.assert_allclose(row, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["query", "keys", "values"])
def test_gradients_are_finite_differences(name):
    case = Case(workload(leading=()), "dot", which="gradient")
    inputs = make_inputs(case)
    right = gate.expected(case, inputs)[name]

    def objective(step):
        moved = getattr(inputs, name).astype(np.float64)
        moved[1, 2] += step
        forward = dataclasses.replace(case, which="forward")
        found = gate.expected(forward, dataclasses.replace(inputs, **{name: moved}))
        return (found["context"] * inputs.cotangent).sum()

    slope = (objective(1e-5) - objective(-1e-5)) / 2e-5
    np.testing.assert_allclose(slope, right[1, 2], rtol=1e-6)


@pytest.mark.parametrize("which", PASSES)
def test_blocks_of_rows_give_what_all_rows_give(which, monkeypatch):
    case = Case(workload(T=12, S=12, mask=causal), "dot", which=which)
    inputs = make_inputs(case)
    whole = gate.expected(case, inputs)
    monkeypatch.setattr(gate, "REFERENCE_BYTES", 1)
    blocks = gate.expected(case, inputs)
    assert set(blocks) == set(whole)
    for name, array in whole.items():
        np.testing.assert_allclose(blocks[name], array, rtol=1e-9, atol=1e-12)


def test_the_largest_error_is_relative_and_named():
    right = {"context": np.array([100.0, 1.0]), "keys": np.array([2.0])}
    actual = {"context": np.array([101.0, 1.0]), "keys": np.array([2.5])}
    assert gate.largest_error(actual, right) == (0.25, "keys")
    assert gate.largest_error(right, right)[0] == 0.0
    actual["context"] = np.array([np.nan, 1.0])
    assert gate.largest_error(actual, right) == (float("inf"), "context")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_tolerances(dtype):
    forward, gradient = (
        gate.tolerance(Case(workload(), "dot", dtype=dtype, which=w)) for w in PASSES
    )
    assert 0 < forward < gradient < 0.1
