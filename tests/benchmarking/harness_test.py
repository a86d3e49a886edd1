"""The harness: nothing one candidate does ends the run, and every outcome has its row."""

import json

import pytest

from attention_jax.benchmarking import harness, machine, report
from attention_jax.benchmarking.candidates import (
    OverBudget,
    Prepared,
    Unsupported,
    own,
)
from attention_jax.benchmarking.cases import Case
from attention_jax.benchmarking.harness import (
    Plan,
    benchmark,
    compile_case,
    measure_case,
)
from attention_jax.benchmarking.results import wrong_rows
from tests.benchmarking.cases import failing_later, raising, scaled, workload

pytestmark = pytest.mark.usefixtures("small_peak")

CANDIDATES = {
    "auto": scaled(1),
    "wrong": scaled(1.01),
    "nan": scaled(float("nan")),
    "unsupported": raising(Unsupported("has no score 'dot'")),
    "not implemented": raising(NotImplementedError("not on this device")),
    "large": raising(OverBudget("needs 9.0 GiB")),
    "broken": raising(RuntimeError("boom\nsecond line")),
    "exhausted": failing_later(MemoryError("no more"), after=2),
}


@pytest.fixture(scope="module")
def small_peak():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "PEAK_SIZES", (64,))
        yield


def plan(**options):
    settings = {"implementations": ("auto", "wrong"), "repeats": 2} | options
    return Plan(workloads=(workload(),), **settings)


@pytest.fixture(scope="module")
def rows(small_peak):
    case = measure_case(Case(workload(), "dot", which="gradient"), CANDIDATES, plan())
    json.dumps(case, allow_nan=False)
    return {row["candidate"]: row for row in case["rows"]}


def test_every_outcome_is_a_row(rows):
    assert {name: row["status"] for name, row in rows.items()} == {
        "auto": "measured",
        "wrong": "wrong",
        "nan": "wrong",
        "unsupported": "unsupported",
        "not implemented": "unsupported",
        "large": "over budget",
        "broken": "failed",
        "exhausted": "failed",
    }
    assert rows["broken"]["reason"] == "RuntimeError: boom"
    assert rows["exhausted"]["reason"] == "MemoryError: no more"
    assert rows["large"]["reason"] == "needs 9.0 GiB"
    assert {name for name, row in rows.items() if "seconds" in row} == {"auto"}


def test_what_is_wrong_is_not_timed_and_says_how_wrong(rows):
    assert rows["wrong"]["error"] == pytest.approx(0.01, rel=0.01)
    assert rows["nan"]["reason"] == "the context is not finite"
    assert "is off by 1.0e-02, more than 0.0005" in rows["wrong"]["reason"]


def test_what_was_measured_says_all_of_it(rows):
    row = rows["auto"]
    assert row["ratio"] == 1.0
    assert len(row["seconds"]["samples"]) == 2
    assert row["lowering_seconds"] > 0 and row["compile_seconds"] > 0
    assert row["peak_fraction"] > 0
    assert row["memory"]["by"] == "xla" and row["memory"]["bytes"] >= 0
    assert row["xla"]["output_bytes"] > 0


def test_only_our_own_errors_count(rows):
    names = {
        "workload": "w",
        "score": "s",
        "normalizer": "n",
        "dtype": "d",
        "pass": "p",
    }
    result = {"cases": [names | {"rows": list(rows.values())}]}
    (line,) = wrong_rows(result)
    assert line.startswith("wrong on w s n d p: the ")


def test_results_are_saved_after_every_case_and_complete_at_the_end():
    saved, events = [], []
    result = benchmark(
        plan(implementations=("reference",), scores=("dot", "cosine")),
        command=["python", "x"],
        log=events.append,
        save=lambda result: saved.append(json.loads(json.dumps(result))),
    )
    # Two scores, forward and gradient.
    assert [len(one["cases"]) for one in saved] == [1, 2, 3, 4]
    assert [one["complete"] for one in saved] == [False, False, False, True]
    assert saved[-1] == json.loads(json.dumps(result))
    assert result["command"] == ["python", "x"]
    assert result["environment"]["cpus"] >= 1 and result["environment"]["versions"]
    assert [e["number"] for e in events if e["event"] == "case"] == [1, 2, 3, 4]
    # Without `auto` the first that was measured is what ratios are to.
    assert {case["baseline"] for case in result["cases"]} == {"reference"}


@pytest.mark.parametrize(
    ("growth", "by"), [(None, "xla"), (2**20, "xla"), (2**30, "resident")]
)
def test_memory_that_xla_does_not_see_counts(monkeypatch, growth, by):
    monkeypatch.setattr(machine, "resident_growth", lambda run: growth)
    case = measure_case(Case(workload(), "dot"), {"auto": scaled(1)}, plan())
    memory = case["rows"][0]["memory"]
    assert memory["by"] == by
    assert (memory["bytes"] > 2**29) == (by == "resident")


def test_a_peer_that_cannot_be_imported_is_told_and_left_out(monkeypatch):
    def load(name):
        raise Unsupported("cannot import nothing")

    monkeypatch.setattr(harness, "load", load)
    events = []
    result = benchmark(plan(peers=("jax_nn",), passes=("forward",)), log=events.append)
    assert result["peers"] == {"jax_nn": {"unavailable": "cannot import nothing"}}
    assert events[0] == {
        "event": "unavailable",
        "peer": "jax_nn",
        "reason": "cannot import nothing",
    }
    (case,) = result["cases"]
    assert [row["candidate"] for row in case["rows"]] == ["auto", "wrong"]


def test_a_program_that_needs_more_than_the_budget_is_not_run():
    case = measure_case(
        Case(workload(T=64, S=64), "dot"), {"auto": scaled(1)}, plan(budget=100)
    )
    (row,) = case["rows"]
    assert row["status"] == "over budget"
    assert row["reason"].startswith("needs 0.0 GiB of memory")


def test_without_repeats_everything_is_compiled_and_nothing_run():
    def torch_like(case, inputs, budget):
        return Prepared(run=lambda: pytest.fail("it ran"), read=dict)

    def ours(case, inputs, budget):
        return own("chunked")(case, inputs, budget)._replace(
            run=lambda: pytest.fail("it ran")
        )

    case = compile_case(
        Case(workload(), "dot"), {"ours": ours, "torch": torch_like}, plan(repeats=0)
    )
    ours, torch = case["rows"]
    assert ours["status"] == "compiled" and torch["status"] == "unsupported"
    assert ours["reason"] == report.size(ours["memory"]["bytes"]) + " of temporaries"
    assert ours["compile_seconds"] > 0 and "seconds" not in ours
    assert report.case_notes(case) == [
        f"ours: compiled: {ours['reason']}",
        "not supported by torch",
    ]


def test_cases_are_the_product_without_passes_a_workload_does_not_have():
    decode = workload(name="decode", passes=("forward",), scores=("dot", "cosine"))
    cases = Plan(
        workloads=(workload(), decode),
        implementations=("auto",),
        normalizers=("softmax", "sigmoid"),
    ).cases()
    assert [case.name for case in cases] == [
        "mine scaled_dot softmax float32 forward",
        "mine scaled_dot softmax float32 gradient",
        "mine scaled_dot sigmoid float32 forward",
        "mine scaled_dot sigmoid float32 gradient",
        "decode dot softmax float32 forward",
        "decode dot sigmoid float32 forward",
        "decode cosine softmax float32 forward",
        "decode cosine sigmoid float32 forward",
    ]
