import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.data import Pair, Splits, split_by_group
from attention_jax.data.splits import (
    connected_groups,
    find_leaks,
    sentence_key,
    split_hash,
)

letters = st.sampled_from("abcdefghijklmnopqrstuvwxyz")


def singles(count):
    return [Pair(f"source {i} x", f"target {i} x") for i in range(count)]


@given(
    st.lists(st.tuples(letters, letters), unique=True, max_size=60),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_splits_share_no_sentence_and_lose_no_pair(rows, seed):
    pairs = [Pair(source, target) for source, target in rows] + singles(40)
    splits = split_by_group(pairs, 7, 11, seed)
    assert (len(splits.dev), len(splits.test)) == (7, 11)
    together = splits.train + splits.dev + splits.test
    assert sorted(together, key=str) == sorted(pairs, key=str)
    for side in ("source", "target"):
        train, dev, test = ({getattr(p, side) for p in split} for split in splits[:3])
        assert not (train & dev or train & test or dev & test)
    assert find_leaks(splits) == []


@given(st.lists(st.tuples(letters, letters), unique=True, max_size=40))
@settings(deadline=None)
def test_groups_are_the_connected_components(rows):
    pairs = [Pair(source, target) for source, target in rows]
    component = list(range(len(pairs)))
    for _ in pairs:  # the slow way: spread the smallest number along shared sentences
        for i, p in enumerate(pairs):
            for j, q in enumerate(pairs):
                if p.source == q.source or p.target == q.target:
                    component[i] = component[j] = min(component[i], component[j])
    expected = {}
    for index, name in enumerate(component):
        expected.setdefault(name, []).append(index)
    assert connected_groups(pairs) == list(expected.values())


@pytest.mark.parametrize(
    ("first", "second", "groups"),
    [
        ("Hello!", "hello", 1),
        ("你好！", "你好!", 1),
        ("a  b", "A b.", 1),
        ("Ｔom?", "tom", 1),
        ("a b", "ab", 2),
        ("...", "?", 2),
        ("$5", "5", 2),
        ("3.5", "35", 2),
        ("a", "x", 2),  # which is the first pair's target
    ],
)
def test_variants_of_a_sentence_are_one(first, second, groups):
    assert len({sentence_key(first), sentence_key(second)}) == groups
    assert len(connected_groups([Pair(first, "x"), Pair(second, "y")])) == groups


@pytest.mark.parametrize(
    ("side", "other"), [("source", "target"), ("target", "source")]
)
@pytest.mark.parametrize(
    "names", [("train", "dev"), ("train", "test"), ("dev", "test")]
)
def test_a_planted_leak_is_found(side, other, names):
    splits = split_by_group(singles(30), 5, 5, 0)
    first, second = (getattr(splits, name) for name in names)
    text = getattr(second[0], side)
    planted = Pair(**{side: text.upper() + " !", other: "quite different"})
    (leak,) = find_leaks(splits._replace(**{names[0]: (*first, planted)}))
    assert leak == (side, *names, sentence_key(text))


def test_train_only_pairs_and_their_groups_are_trained_on():
    pairs = [Pair("same", f"t {i} x") for i in range(3)] + singles(20)
    splits = split_by_group(pairs, 9, 10, 0, train_only=[1, 5])
    assert {pairs[0], pairs[1], pairs[2], pairs[5]} == set(splits.train)


def test_sizes_that_cannot_be_had_are_an_error():
    pairs = [Pair("same", f"t {i} x") for i in range(10)]
    with pytest.raises(ValueError, match="test split needs exactly 3"):
        split_by_group(pairs, 0, 3, 0)
    message = r"^config\.data\.num_dev \+ .* pairs, 10; got 6 \+ 5"
    with pytest.raises(ValueError, match=message):
        split_by_group(pairs, 6, 5, 0)


def test_large_groups_are_drawn_only_if_needed():
    group = [Pair("same", f"t {i} y") for i in range(10)]
    splits = split_by_group(group + singles(100), 20, 20, 3)
    assert set(group) <= set(splits.train)
    forced = split_by_group(group + singles(12), 2, 15, 3)
    assert set(group) <= set(forced.test)


def test_the_seed_decides_and_the_hash_tells():
    pairs = singles(50)
    first, again = split_by_group(pairs, 5, 5, 1), split_by_group(pairs, 5, 5, 1)
    other = split_by_group(pairs, 5, 5, 2)
    assert first == again
    assert split_hash(first) == split_hash(again) != split_hash(other)
    moved = Splits(first.train[1:], (first.train[0], *first.dev), first.test, {})
    assert split_hash(moved) != split_hash(first)
