"""Interleaving: balanced orders, failures of one, summaries. No clock is judged."""

import collections
import itertools

import pytest

from benchmarks import timing


@pytest.mark.parametrize("candidates", range(1, 8))
def test_orders_are_balanced(candidates):
    rounds = candidates * (1 + candidates % 2)
    orders = timing.round_orders(candidates, rounds)
    assert all(sorted(order) == list(range(candidates)) for order in orders)
    positions = collections.Counter(
        (position, one) for order in orders for position, one in enumerate(order)
    )
    assert set(positions.values()) == {rounds // candidates}
    followers = collections.Counter(
        pair for order in orders for pair in itertools.pairwise(order)
    )
    assert len(followers) == candidates * (candidates - 1)
    assert len(set(followers.values())) <= 1


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
