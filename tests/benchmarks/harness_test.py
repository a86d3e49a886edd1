"""The harness: nothing one candidate does ends the run, and every outcome has its row."""

import dataclasses
import importlib.util
import json

import jax
import numpy as np
import pytest

from attention_jax.attention import attention
from benchmarks import harness, report
from benchmarks.candidates import (
    AS_GIVEN,
    HEADS_FIRST,
    HEADS_LAST,
    Baseline,
    Unsupported,
    attention_with,
    give,
    prepare_jax,
    take,
)
from benchmarks.harness import BASELINES, Plan, benchmark, measure_case
from benchmarks.workloads import MASKS, PASSES, Case, make_inputs
from tests import oracles
from tests.benchmarks.workloads_test import workload


def scaled(factor):
    """A candidate whose results are `factor` times the right ones."""

    def prepare(case, inputs, budget):
        def attend(query, keys, values, extra):
            context = attention(query, keys, values, score=case.score, **extra).context
            return context * np.asarray(factor, context.dtype)

        extra = {"params": inputs.params, "mask": inputs.mask(case)}
        return prepare_jax(attend, case, inputs, AS_GIVEN, extra, budget)

    return prepare


def raising(error):
    """A candidate that cannot be prepared."""

    def prepare(case, inputs, budget):
        raise error

    return prepare


def failing_later(error, *, after):
    """A right candidate that raises from its call number `after` on."""

    def prepare(case, inputs, budget):
        prepared = scaled(1)(case, inputs, budget)
        calls = iter(range(after))

        def run():
            if next(calls, None) is None:
                raise error
            return prepared.run()

        return prepared._replace(run=run)

    return prepare


def plan(**options):
    settings = {"implementations": ("auto", "wrong"), "repeats": 2} | options
    return Plan(workloads=(workload(),), **settings)


@pytest.fixture(scope="module")
def rows():
    candidates = {
        "auto": scaled(1),
        "wrong": scaled(1.01),
        "nan": scaled(float("nan")),
        "unsupported": raising(Unsupported("has no score 'dot'")),
        "not implemented": raising(NotImplementedError("not on this device")),
        "large": raising(Unsupported("needs 9.0 GiB")),
        "broken": raising(RuntimeError("boom\nsecond line")),
        "exhausted": failing_later(MemoryError("no more"), after=2),
    }
    case = measure_case(Case(workload(), "dot", which="gradient"), candidates, plan())
    json.dumps(case, allow_nan=False)
    return {row["candidate"]: row for row in case["rows"]}


def test_every_outcome_is_a_row_and_only_our_own_errors_count(rows):
    assert {name: row["status"] for name, row in rows.items()} == {
        "auto": "measured",
        "wrong": "wrong",
        "nan": "wrong",
        "unsupported": "unsupported",
        "not implemented": "unsupported",
        "large": "unsupported",
        "broken": "failed",
        "exhausted": "failed",
    }
    assert rows["broken"]["reason"] == "RuntimeError: boom"
    assert rows["exhausted"]["reason"] == "MemoryError: no more"
    assert rows["large"]["reason"] == "needs 9.0 GiB"
    assert rows["wrong"]["error"] == pytest.approx(0.01, rel=0.01)
    assert rows["nan"]["reason"] == "the context is not finite"
    assert "is off by 1.0e-02, more than 0.0005" in rows["wrong"]["reason"]
    assert {name for name, row in rows.items() if "seconds" in row} == {"auto"}
    key = dict(zip(report.CASE_KEYS, "wsndp", strict=True))
    (line,) = report.wrong_rows({"cases": [key | {"rows": list(rows.values())}]})
    assert line.startswith("wrong on w s n d p: the ")


def test_what_was_measured_has_every_figure(rows):
    row = rows["auto"]
    assert row["ratio"] == 1.0 and row["compile_seconds"] > 0
    assert len(row["seconds"]["samples"]) == 2
    assert row["memory"]["by"] == "xla" and row["memory"]["bytes"] >= 0


def test_results_are_saved_after_every_case_and_complete_at_the_end(monkeypatch):
    missing = Baseline("no_such_package", raising(RuntimeError("never called")))
    monkeypatch.setitem(BASELINES, "missing", missing)
    saved, lines = [], []
    result = benchmark(
        plan(
            implementations=("reference",),
            scores=("dot", "cosine"),
            passes=("forward",),
            baselines=("missing",),
        ),
        command=["python", "x"],
        log=lines.append,
        save=lambda result: saved.append(json.loads(json.dumps(result))),
    )
    assert [(len(one["cases"]), one["complete"]) for one in saved] == [
        (1, False),
        (2, True),
    ]
    assert saved[-1] == json.loads(json.dumps(result))
    assert result["command"] == ["python", "x"] and result["environment"]["versions"]
    reason = "ModuleNotFoundError: No module named 'no_such_package'"
    assert result["peers"] == {"missing": {"unavailable": reason}}
    assert lines[0] == f"missing is left out: {reason}"
    assert lines[1:] == [
        "1/2 mine dot softmax float32 forward",
        "2/2 mine cosine softmax float32 forward",
    ]
    # Without `auto` ratios are to the first that was measured.
    assert {case["baseline"] for case in result["cases"]} == {"reference"}


def test_a_program_that_needs_more_than_the_budget_is_not_run():
    case = Case(workload(T=64, S=64), "dot")
    (row,) = measure_case(case, {"auto": scaled(1)}, plan(budget=100))["rows"]
    assert row["status"] == "unsupported"
    assert row["reason"].startswith("needs 0.0 GiB of memory")


def test_cases_are_the_product_without_passes_a_workload_does_not_have():
    decode = dataclasses.replace(
        workload(), name="decode", passes=("forward",), scores=("dot", "cosine")
    )
    cases = Plan(workloads=(workload(), decode), implementations=("auto",)).cases()
    assert [report.case_name(case.key()) for case in cases] == [
        "mine scaled_dot softmax float32 forward",
        "mine scaled_dot softmax float32 gradient",
        "decode dot softmax float32 forward",
        "decode cosine softmax float32 forward",
    ]


@pytest.mark.parametrize("score", ["scaled_dot", "additive"])
def test_what_is_expected_is_the_oracle_s_and_its_gradient(score, monkeypatch):
    case = Case(workload(leading=(), mask="padded"), score, which="gradient")
    inputs = make_inputs(case)
    right = harness.expected(case, inputs)
    assert right["context"].dtype == np.float64
    exact = {n: p.astype(np.float64) for n, p in inputs.params.items()}
    arrays = [a.astype(np.float64) for a in (inputs.query, inputs.keys, inputs.values)]
    mask = np.broadcast_to(np.arange(7) < inputs.key_lengths, (5, 7))
    given = {"score": score, "normalizer": "softmax", "params": exact}
    context, _, _ = oracles.attention(*arrays, mask, **given)
    np.testing.assert_allclose(right["context"], context, rtol=1e-6)

    def objective(step):
        moved = arrays[1] + step * (np.arange(28).reshape(7, 4) == 6)
        found, _, _ = oracles.attention(arrays[0], moved, arrays[2], mask, **given)
        return (found * inputs.cotangent).sum()

    slope = (objective(1e-5) - objective(-1e-5)) / 2e-5
    np.testing.assert_allclose(right["keys"].reshape(-1)[6], slope, rtol=1e-6)
    monkeypatch.setattr(harness, "REFERENCE_BYTES", 1)
    for name, array in harness.expected(case, inputs).items():
        np.testing.assert_allclose(array, right[name], rtol=1e-9, atol=1e-12)


def test_the_largest_error_is_relative_and_named():
    right = {"context": np.array([100.0, 1.0]), "keys": np.array([2.0])}
    actual = {"context": np.array([101.0, 1.0]), "keys": np.array([2.5])}
    assert harness.largest_error(actual, right) == (0.25, "keys")
    assert harness.largest_error(right, right)[0] == 0.0
    actual["context"] = np.array([np.nan, 1.0])
    assert harness.largest_error(actual, right) == (float("inf"), "context")


@pytest.mark.parametrize("layout", [HEADS_FIRST, HEADS_LAST])
@pytest.mark.parametrize("leading", [(), (3,), (3, 2)])
def test_layouts_give_back_what_they_took(layout, leading):
    array = np.random.default_rng(0).standard_normal((*leading, 5, 4))
    given = give(array, layout)
    assert given.flags.c_contiguous
    np.testing.assert_array_equal(take(given, array.shape, layout), array)


# The others are for the environment of `make baselines`.
INSTALLED = [n for n, one in BASELINES.items() if importlib.util.find_spec(one.package)]


# A library's own warnings and promotions are not ours.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("leading", [(), (3, 2)])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", INSTALLED)
def test_a_baseline_computes_what_we_compute(name, mask, leading, which):
    one = workload(leading=leading, T=8, S=8, mask=mask)
    case = Case(one, "scaled_dot", which=which)
    inputs = make_inputs(case)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        try:
            prepared = BASELINES[name].prepare(case, inputs, 2**30)
            actual = prepared.read(prepared.run())
        except NotImplementedError:
            assert (name, which) == ("torch_flex", "gradient")
            return
    right = harness.expected(case, inputs)
    assert {n: a.shape for n, a in actual.items()} == {
        n: a.shape for n, a in right.items()
    }
    error, where = harness.largest_error(actual, right)
    assert error <= harness.tolerance(case), where


@pytest.mark.parametrize("name", BASELINES)
def test_what_a_baseline_does_not_have_is_unsupported(name):
    for pair in (("scaled_dot", "sparsemax"), ("additive", "softmax")):
        case = Case(workload(), *pair)
        with pytest.raises((Unsupported, ImportError), match=r"has no |No module"):
            BASELINES[name].prepare(case, make_inputs(case), 2**30)


def test_keys_prepared_beforehand_give_the_same():
    one = workload(leading=(3,), prepared=True)
    case = Case(one, "bilinear")
    inputs = make_inputs(case)
    prepared = attention_with("reference")(case, inputs, 2**30)
    error, _ = harness.largest_error(
        prepared.read(prepared.run()), harness.expected(case, inputs)
    )
    assert error <= harness.tolerance(case)
