import pytest

from attention_jax.config import DataConfig
from attention_jax.data import load_splits, synthetic_tasks, tokenizers
from attention_jax.data.pairs import link_tokens
from attention_jax.data.splits import find_leaks


def words(text):
    return tokenizers.get("words")().tokenize(text)


def every_pair(splits):
    return splits.train + splits.dev + splits.test


def synthetic(**changes):
    fields = {"source": "synthetic", "num_pairs": 400, "num_dev": 40, "num_test": 30}
    return DataConfig(**{**fields, "symbols": 20, **changes})


ORACLES = {
    "copy": lambda source: source,
    "reverse": lambda source: source[::-1],
    "sort": sorted,
}


@pytest.mark.parametrize("task", synthetic_tasks.names())
def test_every_task_is_what_it_says_and_aligned(task):
    splits = load_splits(synthetic(task=task))
    assert [len(split) for split in splits[:3]] == [330, 40, 30]
    assert find_leaks(splits) == []
    assert splits == load_splits(synthetic(task=task))
    pairs = every_pair(splits)
    assert len({pair.source for pair in pairs}) == 400
    lexicon = {}
    for pair in pairs:
        source, target = words(pair.source), words(pair.target)
        assert len(source) == len(target)
        assert 3 <= len(source) <= 12
        links = link_tokens(pair, source, target)
        assert sorted(t for _, t in links) == list(range(len(target)))
        assert sorted(s for s, _ in links) == list(range(len(source)))
        for s, t in links:
            lexicon.setdefault(source[s].text, set()).add(target[t].text)
            assert task != "lexicon" or abs(s - t) <= 1
        if task in ORACLES:
            assert pair.target.split() == ORACLES[task](pair.source.split())
    # A function, one to one, whatever the task.
    assert all(len(translations) == 1 for translations in lexicon.values())
    assert len(set.union(*lexicon.values())) == len(lexicon) == 20


def test_the_lexicon_reorders_by_the_word_alone():
    swapped = {}
    for pair in load_splits(synthetic(task="lexicon")).train:
        source, target = words(pair.source), words(pair.target)
        position = dict(link_tokens(pair, source, target))
        place = 0
        while place < len(source) - 1:
            moved = position[place] != place
            swapped.setdefault(source[place].text, set()).add(moved)
            place += 2 if moved else 1
    assert all(len(found) == 1 for found in swapped.values())
    assert {True, False} == set.union(*swapped.values())


def test_lengths_are_spread_evenly_and_the_whole_space_can_be_asked_for():
    pairs = every_pair(load_splits(synthetic(min_length=2, max_length=5)))
    counts = [sum(len(p.source.split()) == n for p in pairs) for n in range(2, 6)]
    assert counts == [100, 100, 100, 100]
    fields = {"symbols": 3, "min_length": 1, "max_length": 3}
    fields |= {"num_dev": 3, "num_test": 3}
    pairs = every_pair(load_splits(synthetic(**fields, num_pairs=39)))
    assert len({pair.source for pair in pairs}) == 39
    with pytest.raises(ValueError, match="must be at most 39, .* sentences of 1 to 3"):
        load_splits(synthetic(**fields, num_pairs=40))
