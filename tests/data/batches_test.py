import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.data import Pair
from attention_jax.data.batches import (
    TrainBatches,
    assign_buckets,
    bucket_shapes,
    encode_pairs,
    encode_tokens,
    eval_batches,
    keep_short,
)
from attention_jax.data.codec import BOS, EOS, PAD, build_codec
from attention_jax.data.pairs import Link, link_tokens

length = st.integers(0, 12)
all_lengths = st.lists(st.tuples(length, length), min_size=1, max_size=40)


def make_examples(lengths):
    """Examples of these source and target lengths, and the ids that they have."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefgh"))
    pairs = [
        Pair(" ".join(rng.choice(letters, s)), " ".join(rng.choice(letters, t)))
        for s, t in lengths
    ]
    codec = build_codec("words", ["a b c d e f g h"])
    expected = [(codec.encode(p.source), codec.encode(p.target)) for p in pairs]
    return encode_pairs(pairs, codec, codec), expected


def check_batch(batch, expected):
    """Every row against the definition, token by token; returns the ids seen."""
    assert all(field.dtype == np.int32 for field in batch)
    seen = []
    for row, example in enumerate(batch.example_ids):
        source, inputs, outputs = [], [], []  # a padding row
        if example >= 0:
            seen.append(int(example))
            source, target = expected[example]
            inputs, outputs = [BOS, *target], [*target, EOS]
        for array, tokens in (
            (batch.source, source),
            (batch.target_inputs, inputs),
            (batch.target_outputs, outputs),
        ):
            padding = [PAD] * (array.shape[1] - len(tokens))
            assert array[row].tolist() == tokens + padding
        assert batch.source_lengths[row] == len(source)
        assert batch.target_lengths[row] == len(outputs)
    return seen


@given(all_lengths, st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_an_epoch_has_every_example_once(lengths, batch_size, num_buckets, seed):
    examples, expected = make_examples(lengths)
    batches = TrainBatches(
        examples, batch_size=batch_size, seed=seed, num_buckets=num_buckets
    )
    assert len(batches.shapes) <= num_buckets
    for epoch in range(2):
        first = epoch * batches.steps_per_epoch
        seen, used = [], 0
        for step in range(first, first + batches.steps_per_epoch):
            batch = batches.at(step)
            assert batch.source.shape[0] == batch_size
            shape = (batch.source.shape[1], batch.target_inputs.shape[1])
            assert shape in batches.shapes
            used += batch_size * sum(shape)
            seen += check_batch(batch, expected)
        assert sorted(seen) == list(range(len(lengths)))
        words = sum(s + t + 1 for s, t in lengths)
        assert batches.padding_share == pytest.approx(1 - words / used)


def test_batches_are_a_function_of_seed_and_step():
    examples, _ = make_examples([(i % 9, i % 7) for i in range(100)])
    first, second, other = (
        TrainBatches(examples, batch_size=8, seed=seed, num_buckets=3)
        for seed in (5, 5, 6)
    )
    epoch = first.steps_per_epoch
    forward = {step: first.at(step) for step in range(3 * epoch)}
    for array in first.at(0):  # changing a batch does not change the next
        array[...] = 7
    for step in reversed(forward):
        for left, right in zip(forward[step], second.at(step), strict=True):
            np.testing.assert_array_equal(left, right)
    ids = [tuple(batch.example_ids) for batch in forward.values()]
    assert ids != [tuple(other.at(step).example_ids) for step in forward]
    assert ids[:epoch] != ids[epoch : 2 * epoch]


@given(all_lengths, st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_shapes_leave_as_little_padding_as_the_best(lengths, num_buckets):
    lengths = np.maximum(np.array(lengths), 1)

    def size(shapes):
        return sum(sum(shapes[index]) for index in assign_buckets(lengths, shapes))

    shapes = bucket_shapes(lengths, num_buckets)
    assert len(shapes) <= num_buckets
    largest = tuple(lengths.max(0))
    cells = itertools.product(*(np.unique(side) for side in lengths.T))
    others = [(largest, cell) for cell in cells] if num_buckets == 2 else [(largest,)]
    assert size(shapes) <= min(map(size, others))


def test_shapes_need_not_be_nested_and_many_lengths_still_fit():
    lengths = np.array([(2, 9)] * 20 + [(9, 2)] * 20 + [(9, 9)])
    assert set(bucket_shapes(lengths, 3)) == {(2, 9), (9, 2), (9, 9)}
    many = np.random.default_rng(0).integers(1, 400, (500, 2))
    shapes = np.array(bucket_shapes(many, 3))
    assert np.all(shapes[assign_buckets(many, tuple(shapes))] >= many)


@given(all_lengths, st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_eval_batches_keep_the_order_and_one_shape(lengths, batch_size):
    examples, expected = make_examples(lengths)
    batches = eval_batches(examples, batch_size)
    shapes = {(batch.source.shape, batch.target_inputs.shape) for batch in batches}
    assert len(shapes) == 1
    seen = [example for batch in batches for example in check_batch(batch, expected)]
    assert seen == list(range(len(lengths)))


def test_sources_alone_make_batches_with_empty_targets():
    vocabulary = build_codec("words", ["a b c"]).vocabulary
    (batch,) = eval_batches(encode_tokens(["ab", "c"], vocabulary), 3, shape=(4, 2))
    assert check_batch(batch, [([4, 5], []), ([6], [])]) == [0, 1]
    assert batch.source.shape == (3, 4)
    assert eval_batches(encode_tokens([], vocabulary), 3) == []


def test_keep_short_counts_words_and_keeps_ids():
    examples, expected = make_examples([(3, 3), (4, 1), (1, 4), (2, 2)])
    kept = keep_short(examples, 3, 3)
    (batch,) = eval_batches(kept, 2)
    assert check_batch(batch, expected) == kept.ids.tolist() == [0, 3]
    assert keep_short(examples, 0, 0).ids.tolist() == [0, 1, 2, 3]
    assert keep_short(examples, 3, 0).ids.tolist() == [0, 2, 3]


@given(st.lists(st.integers(0, 6), min_size=4, max_size=4))
@settings(deadline=None)
def test_links_connect_all_tokens_that_share_a_character(bounds):
    codec = build_codec("words", ["ab c def"])
    pair = Pair("ab c def", "def ab c", (Link(*bounds),))
    source, target = codec.tokens(pair.source), codec.tokens(pair.target)

    def touched(tokens, start, end):
        spans = [set(range(token.start, token.end)) for token in tokens]
        return [i for i, span in enumerate(spans) if span & set(range(start, end))]

    expected = set(
        itertools.product(touched(source, *bounds[:2]), touched(target, *bounds[2:]))
    )
    assert link_tokens(pair, source, target) == expected
