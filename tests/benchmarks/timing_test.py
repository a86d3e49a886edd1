"""Interleaving: varied orders, failures of one, summaries. No clock is judged."""

import pytest

from benchmarks import timing


def test_every_round_has_each_in_an_order_of_its_own(monkeypatch):
    monkeypatch.setattr(timing, "MOST_CALLS", 1)
    called = []
    runs = {name: lambda name=name: called.append(name) for name in "abc"}
    samples, _ = timing.interleave(runs, repeats=20)
    assert {len(one) for one in samples.values()} == {20}
    rounds = ["".join(called[i : i + 3]) for i in range(6, 66, 3)]
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert {one[0] for one in rounds} == {one[2] for one in rounds} == {*"abc"}


@pytest.mark.parametrize("good_calls", [0, 2])
def test_what_one_raises_ends_no_other(good_calls, monkeypatch):
    monkeypatch.setattr(timing, "MOST_CALLS", 1)
    left = iter(range(good_calls))

    def bad():
        if next(left, None) is None:
            raise MemoryError("too much")

    samples, failures = timing.interleave({"bad": bad, "good": int}, repeats=3)
    assert list(samples) == ["good"]
    assert len(samples["good"]) == 3
    assert isinstance(failures["bad"], MemoryError)


def test_no_round_begins_after_the_limit_but_the_first_three():
    samples, _ = timing.interleave({"a": int}, repeats=50, max_seconds=0)
    assert len(samples["a"]) == timing.FEWEST_ROUNDS


def test_summary_and_ratio():
    summary = timing.summarize([3.0, 1.0, 2.0, 4.0, 5.0])
    assert summary["median"] == 3.0
    assert (summary["low_quartile"], summary["high_quartile"]) == (2.0, 4.0)
    assert summary["min"] == 1.0
    assert timing.summarize([2.0])["low_quartile"] == 2.0
    # Paired by round: a slow moment of the machine affects both.
    assert timing.ratio([2.0, 20.0, 3.0], [1.0, 10.0, 2.0]) == 2.0
